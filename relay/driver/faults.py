"""The faults that commands have set: flows suffer them from the moment that both legs are there.

Each flow draws once for a fault that is not for all, by its number and the fault's name. So a fault that is changed
holds for the same flows, and the same seed repeats a run.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias

from relay.address import Endpoint
from relay.causes import Cause
from relay.driver.carrying import Carrying
from relay.driver.chance import drawn_once
from relay.driver.shaping import set_shape
from relay.events import Side
from relay.fault import Fault, recorded_as
from relay.legs.outbox import Outbox
from relay.shape import PLAIN

if TYPE_CHECKING:
    from relay.driver.driver import Driver
    from relay.driver.flow import Flow


class Records(Protocol):
    """What takes records: an event log, or the one of several workers."""

    def emit(self, event: str, **fields: Any) -> object:
        """Make a record."""


@dataclass(frozen=True, slots=True)
class _Suffered:
    """A fault that holds for a flow; its limit counts from when it took hold."""

    fault: Fault
    limit_bytes: int | None


_Key: TypeAlias = tuple[str, Endpoint | None]
"""A fault's name, and the forward whose flows suffer it; None is every flow. A flow may suffer both of one name."""


class Faults:
    """The faults of one relay's flows, by name and by the forward whose flows suffer them; None is every flow."""

    def __init__(self, driver: Driver) -> None:
        self._driver = driver
        self._faults: dict[Endpoint | None, dict[str, Fault]] = {}

    def set(self, name: str, fault: Fault, forward: Endpoint | None) -> None:
        """Have flows suffer this, those that are open and those to come, in the place of the fault of this name."""
        self._faults.setdefault(forward, {})[name] = fault
        record_fault_set(self._driver.log, name, fault, forward)
        for flow in self._flows_of(forward):
            flow.guard(self._begin_one, flow, (name, forward), fault)

    def lift(self, name: str, forward: Endpoint | None) -> bool:
        """Have no flow suffer this any more; returns whether it was set."""
        if self._faults.get(forward, {}).pop(name, None) is None:
            return False
        record_fault_lifted(self._driver.log, name, forward)
        for flow in self._flows_of(forward):
            flow.guard(self._end_one, flow, (name, forward))
        return True

    def forget(self, forward: Endpoint) -> None:
        """A forward is closed: its faults are no more."""
        self._faults.pop(forward, None)

    def all(self) -> list[tuple[str, Fault, Endpoint | None]]:
        """Those that are set: name, fault, and the forward whose flows suffer it."""
        return [(name, fault, forward) for forward, of in self._faults.items() for name, fault in of.items()]

    def begin(self, flow: Flow) -> None:
        """A flow has both its legs."""
        if not (self._faults and flow.suffers_faults):
            return
        for forward in (None, flow.forward) if flow.forward is not None else (None,):
            for name, fault in self._faults.get(forward, {}).items():
                self._begin_one(flow, (name, forward), fault)

    @staticmethod
    def on_limit(flow: Flow, side: Side, limit_bytes: int) -> None:
        """A shape's limit is reached."""
        for key, suffered in (flow.faults or {}).items():
            fault = suffered.fault
            if fault.end_at_limit and (fault.side, suffered.limit_bytes) == (side, limit_bytes):
                _end(flow, key, fault, "at its limit")
                return

    def _flows_of(self, forward: Endpoint | None) -> list[Flow]:
        flows = [flow for flow in self._driver.flows.values() if flow.suffers_faults]
        return [flow for flow in flows if forward in {None, flow.forward} and isinstance(flow.phase, Carrying)]

    def _begin_one(self, flow: Flow, key: _Key, fault: Fault) -> None:
        name, _ = key
        old = self._take_off(flow, key)
        suffers = not flow.machine.is_over(fault.side) and drawn_once(
            flow.log, self._driver.seed, flow.seeded_number, name, fault.share, because=_recorded_as(key)
        )
        if old is not None and not (suffers and old.fault.side is fault.side):
            _unshape(flow, old.fault, key)
        if not suffers:
            return
        shape, leg = fault.shape, flow.legs[fault.side]
        if shape.limit_bytes is not None and isinstance(leg, Outbox):
            shape = replace(shape, limit_bytes=shape.limit_bytes + leg.passed_bytes)
        flow.faults = {**(flow.faults or {}), key: _Suffered(fault, shape.limit_bytes)}
        if fault.end_after_s is not None:
            end = partial(_end, flow, key, fault, f"after {fault.end_after_s:g} s")
            if fault.end_after_s:
                flow.start_nat_timer(_recorded_as(key), fault.end_after_s, end)
            else:
                self._driver.engine.call_soon(lambda: flow.guard(end))
        set_shape(flow, fault.side, shape, _recorded_as(key))

    def _end_one(self, flow: Flow, key: _Key) -> None:
        suffered = self._take_off(flow, key)
        if suffered is None:
            return
        if suffered.fault.end_when_lifted:
            _end(flow, key, suffered.fault, "as it is lifted")
        else:
            _unshape(flow, suffered.fault, key)

    @staticmethod
    def _take_off(flow: Flow, key: _Key) -> _Suffered | None:
        faults: dict[_Key, _Suffered] = dict(flow.faults or {})
        suffered = faults.pop(key, None)
        if suffered is not None:
            flow.stop_timer(_recorded_as(key))
            flow.faults = faults or None
        return suffered


def record_fault_set(log: Records, name: str, fault: Fault, forward: Endpoint | None) -> None:
    """Record that flows suffer a fault from now on."""
    log.emit("fault-set", name=name, side=fault.side.value, effects=fault.effects, forward=_text(forward))


def record_fault_lifted(log: Records, name: str, forward: Endpoint | None) -> None:
    """Record that no flow suffers a fault any more."""
    log.emit("fault-lifted", name=name, forward=_text(forward))


def _text(forward: Endpoint | None) -> str | None:
    return str(forward) if forward is not None else None


def _unshape(flow: Flow, fault: Fault, key: _Key) -> None:
    """Have what goes to the fault's side sent as without it; what waits goes at once."""
    if not flow.machine.is_over(fault.side):
        set_shape(flow, fault.side, PLAIN, _recorded_as(key))


def _end(flow: Flow, key: _Key, fault: Fault, when: str) -> None:
    if isinstance(flow.phase, Carrying):
        flow.log.write("note", text=f"ends the flow by {fault.end.upper()}, {when}", because=_recorded_as(key))
        flow.give_up(Cause.COMMAND, in_order=fault.end == "fin")


def _recorded_as(key: _Key) -> str:
    """What a flow has a timer, or a shape, for: another text for each fault of a flow."""
    name, forward = key
    return recorded_as(name, of_forward=forward is not None)
