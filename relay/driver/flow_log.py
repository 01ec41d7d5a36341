"""A flow's own part of the event log: every record with the flow's number and the app's process.

Finding the process takes a moment. Until then the event log holds the flow's records, so that each can name it.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any, Protocol

from relay.actions import Action
from relay.debug import traceback_of
from relay.errors import BehaviourError, RelayError
from relay.events import (
    Event,
    FinReceived,
    InitiatorVanished,
    LegTimedOut,
    LinkWentDown,
    ProbeAnswered,
    ProbeArrived,
    RstReceived,
    Side,
    SynUnknown,
    TosChanged,
)
from relay.legs import Process
from relay.log import EventLog, Hold
from relay.machine import FlowMachine, Step


class Carries(Protocol):
    """Counts what is carried."""

    def carried_bytes(self) -> tuple[int, int]:
        """How many bytes were passed on, out (from the internal side to the external) and in."""


class FlowLog:
    """Records what happens to one flow."""

    __slots__ = ("_flow", "_hold", "_log", "_process", "carrying", "granted_s", "lost_bytes", "started_s")

    def __init__(self, log: EventLog, flow: int, started_s: float) -> None:
        self._log = log
        self._flow = flow
        self._process: Process | None = None
        self._hold: Hold | None = None
        self.carrying: Carries | None = None
        """What counts the bytes of the flow, as long as it carries any."""
        self.started_s = started_s
        self.lost_bytes = 0
        self.granted_s: float | None = None
        """When the initiator was granted the connection."""

    @property
    def wanted(self) -> bool:
        """Whether the log has a listener; without one, costly fields need not be found out."""
        return self._log.wanted

    @property
    def process(self) -> Process | None:
        """The process that has the flow's internal end, once it is known."""
        return self._process

    def write(self, event: str, **fields: Any) -> None:
        """Record one thing; see `relay.log.FIELDS`."""
        if self._log.wanted:
            self._write(event, None, fields)

    def _write(self, event: str, read: tuple[float, float] | None, fields: dict[str, Any]) -> None:
        """Likewise; `read` is what the log's clock says, if it was read just before."""
        carried = (0, 0)
        if (carrying := self.carrying) is not None:
            carried = carrying.carried_bytes()
        record = self._log.record(event, flow=self._flow, process=self._process, carried=carried, read=read, **fields)
        self._log.hand_on(record, self._hold)

    def hold(self) -> None:
        """Hold records until `name_process` is called."""
        self._hold = Hold()

    def name_process(self, process: Process | None) -> None:
        """Say whose flow it is, or None if that is not known, and let go of what was held."""
        hold, self._hold, self._process = self._hold, None, process
        if hold is not None:
            self._log.release(hold, process)

    def once_named(self, callback: Callable[[], None]) -> bool:
        """Call back once it is found out whose flow it is, or not; False if that is over, or was not begun."""
        if self._hold is None:
            return False
        self._hold.then = callback
        return True

    def write_event(self, event: Event) -> None:
        """Record an event that comes from a peer."""
        if not self._log.wanted:
            return
        match event:
            case FinReceived(side=side):
                self.write("fin-received", side=side.value)
            case RstReceived(side=side, unacked_bytes=unacked_bytes):
                self.write("rst-received", side=side.value, unacked_bytes=unacked_bytes)
            case LegTimedOut(side=side, unacked_bytes=unacked_bytes):
                self.write("timed-out", side=side.value, unacked_bytes=unacked_bytes)
            case TosChanged():
                self._write_tos(event)
            case SynUnknown(side=side, reference=reference):
                self.write("syn-unknown", side=side.value, reference=reference)
            case ProbeArrived(side=side):
                self.write("keepalive-probe", side=side.value)
            case ProbeAnswered(side=side):
                self.write("probe-answered", side=side.value)
            case InitiatorVanished():
                self.write("initiator-vanished")
            case LinkWentDown() | _:
                pass  # recorded once for all flows, or not at all

    def _write_tos(self, event: TosChanged) -> None:
        self.write(
            "tos-changed",
            side=event.side.value,
            syn=event.syn,
            old=event.old,
            new=event.new,
            syn_precedence=event.syn >> 5,
            new_precedence=None if event.new is None else event.new >> 5,
        )

    def write_dropped(self, step: Step) -> None:
        """Record what a behaviour asked for when it was not possible any more."""
        self.write("action-dropped", action=_described(step.action), because=step.because)

    def write_fault(self, fault: Exception) -> None:
        """Record what broke, and where."""
        if self._log.wanted:
            error = str(fault) if isinstance(fault, RelayError) else f"{type(fault).__name__}: {fault}"
            origin = fault.__cause__ if isinstance(fault, BehaviourError) else None
            self.write("fault", error=error, traceback=traceback_of(origin or fault))

    def write_ending(self, machine: FlowMachine, destination: str | None, carried_bytes: tuple[int, int]) -> None:
        """Record how it all ended; `carried_bytes` are those out and those in.

        The flow's beginning, from which `granted_after_s` counts, is `at_s` less `duration_s`: to the microsecond.
        """
        read = self._log.clock.read()
        fields: dict[str, Any] = {
            "destination": destination,
            "because": machine.cause,
            "bytes_out": carried_bytes[0],
            "bytes_in": carried_bytes[1],
            "bytes_lost": self.lost_bytes,
            "duration_s": round(read[0] - self.started_s, 6),
            "granted_after_s": None if self.granted_s is None else round(self.granted_s - self.started_s, 6),
        }
        for side in Side:
            ending = machine.endings.get(side)
            fields[side.value] = ending.how if ending else None
            fields[f"{side.value}_because"] = ending.because if ending else None
        self._write("flow-ended", read, fields)


def _described(action: Action) -> str:
    values = ((field.name, getattr(action, field.name)) for field in dataclasses.fields(action))
    named = (f"{name}={value.value if isinstance(value, Side) else value}" for name, value in values)
    return f"{type(action).__name__}({', '.join(named)})"
