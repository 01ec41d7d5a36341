"""Lost segments as an app feels them: what they carried is late, and all that is behind it."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

from relay.abilities import Want
from relay.actions import SetShape, StartTimer
from relay.behaviours._api import Actions, Behaviour
from relay.behaviours._directions import direction_setting, sides
from relay.events import DialSucceeded, Side, TimerFired
from relay.settings import setting
from relay.shape import PLAIN, Shape

_MOST_TIMES = 6  # in a row; the last wait is 32 times the first


@dataclass
class Loss(Behaviour):
    """Stall a direction now and then, for as long as a TCP takes to send a lost segment again.

    TCP loses no bytes. It sends a segment that was lost again after a timeout (RFC 6298: 1 s at first, but 0.2 s on
    Linux), which doubles each time. Where `share` of `segments_per_s` are lost, there are `share * segments_per_s`
    stalls a second, at moments drawn from an exponential distribution. One lasts `timeout_s`; with a chance of `share`
    the segment is lost again, and it lasts three times as long, then seven times.

    Source: none, for it is a fault made on purpose.
    """

    draws = True

    share: float = setting(0.01, low=0.0001, high=0.5, doc="which share of the segments is lost, from 0 to 1")
    segments_per_s: float = setting(
        100.0, low=0.1, high=1e6, unit="segments a second", doc="how many segments pass, for the arithmetic"
    )
    timeout_s: float = setting(0.2, low=0.01, high=60, doc="the first retransmission timeout, in s")
    direction: str = direction_setting()

    def wants(self) -> Iterable[Want]:
        return ()

    def on_dial_succeeded(self, event: DialSucceeded) -> Actions:
        for side in sides(self.direction):
            yield self._next_loss(side)

    def on_timer_fired(self, event: TimerFired) -> Actions:
        what, _, name = event.key.partition(" ")
        side = Side(name)
        if what == "lost":
            yield SetShape(side, Shape(stall=True))
            yield StartTimer(f"sent {name}", self.timeout_s * (2 ** self._times() - 1))
        else:
            yield SetShape(side, PLAIN)
            yield self._next_loss(side)

    def _next_loss(self, side: Side) -> StartTimer:
        return StartTimer(f"lost {side.value}", -math.log(1 - self.chance()) / (self.share * self.segments_per_s))

    def _times(self) -> int:
        """How often the segment is sent until it arrives, less one."""
        times = 1
        while times < _MOST_TIMES and self.chance() < self.share:
            times += 1
        return times
