"""A TCP of our own at work: it has its deadlines kept and its segments sent, until it is over.

The TCP is a value (`relay.wire.tcp`). What it lacks is time and a way to the guest; it gets both here.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from typing import Any, Protocol

from relay.legs import Timer
from relay.loop.engine import Engine
from relay.wire.ends import Ends
from relay.wire.owners import Owners
from relay.wire.segment import Segment
from relay.wire.tcp import Seen, Tcp


class Wire(Protocol):
    """What a TCP needs of the NAT that it belongs to; `leg` is the `relay.wire.leg.WireLeg` that it is."""

    engine: Engine
    owners: Owners
    """Who has the guest's ends."""

    def send_segments(self, leg: Any, segments: list[Segment]) -> None:
        """Send these to the guest, in the connection's packets."""

    def tell_owner(self, leg: Any) -> None:
        """Call the leg's owner, now or once what else has arrived was taken in."""

    def on_established(self, leg: Any) -> None:
        """The guest has completed the handshake."""

    def forget(self, leg: Any) -> None:
        """The connection is over: its ends may be used again."""


class RunningTcp(ABC):
    """One TCP, between the ends of its connection."""

    __slots__ = ("_armed_s", "_timer", "_wire", "ends", "loop", "tcp")

    def __init__(self, wire: Wire, tcp: Tcp, ends: Ends) -> None:
        self.loop = wire.engine
        self.ends = ends
        self.tcp = tcp
        self._wire = wire
        self._timer: Timer | None = None
        self._armed_s = math.inf

    @abstractmethod
    def _act(self, seen: int) -> None:
        """Send what the TCP has to send, and do what follows from what it has seen."""

    def _did(self, seen: int) -> None:
        """The TCP has done something for us: send what follows from it."""
        self._emit()
        if seen & Seen.CLOSED:
            self._forget()

    def _emit(self) -> None:
        if segments := self.tcp.take_output():
            self._wire.send_segments(self, segments)
        self._arm()

    def _arm(self) -> None:
        """See that the TCP's deadline is kept. A deadline that moves away, as most do, costs nothing until then."""
        due_s = self.tcp.next_deadline_s
        if due_s is not None and due_s < self._armed_s:
            if self._timer is not None:
                self._timer.cancel()
            self._armed_s = due_s
            self._timer = self.loop.call_later(max(0.0, due_s - self.loop.now_s()), self._on_time)

    def _forget(self) -> None:
        """It is over: its ends may be used again."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self._armed_s = -math.inf  # no deadline is kept any more
        self._wire.forget(self)

    def _on_time(self) -> None:
        self._timer, self._armed_s = None, math.inf
        due_s = self.tcp.next_deadline_s
        if due_s is not None and due_s <= self.loop.now_s():
            self._act(self.tcp.on_deadline(self.loop.now_s()))
        else:
            self._arm()
