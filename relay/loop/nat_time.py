"""A NAT's timers: seconds on its clock, run by a loop that has the real one.

They are on a heap of their own. The loop has one timer, for the earliest of them. So they cost the loop nothing while
none is due, and the NAT's clock can be moved without a look at the loop's other timers.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Generator
from functools import partial
from typing import Any, Protocol

from relay.clock import NatClock
from relay.loop.timers import Timer, Timers


class _Cancellable(Protocol):
    def cancel(self) -> None: ...


class _Loop(Protocol):
    def call_later(self, delay_s: float, callback: Callable[[], Any]) -> _Cancellable: ...


class NatTime:
    """A NAT's clock, and what is due on it; `on_fault` is called with what a callback raises."""

    def __init__(self, clock: NatClock, loop: _Loop, on_fault: Callable[[Exception], None]) -> None:
        self.now_s = clock.now_s
        """Now, in seconds on the NAT's clock."""
        self._clock = clock
        self._loop = loop
        self._on_fault = on_fault
        self._timers = Timers()
        self._armed: _Cancellable | None = None
        self._armed_for_s = math.inf  # on the NAT's clock; -infinity while that is moved on

    @property
    def scale(self) -> float:
        """How many seconds pass on it in one real second."""
        return self._clock.scale

    @scale.setter
    def scale(self, scale: float) -> None:
        self._clock.scale = scale
        if not self._is_moved:
            self._disarm(math.inf)
            self._arm()

    def call_later(self, delay_s: float, callback: Callable[[], Any]) -> Timer:
        """Call `callback` once, in `delay_s` of the NAT's seconds, unless the timer is cancelled."""
        timer = self._timers.add(self.now_s() + delay_s, callback)
        self._arm()
        return timer

    def due_within(self, seconds: float) -> Generator[tuple[float, Callable[[], None]], None, None]:
        """Let `seconds` pass at once: give each callback that is due by then, in order, with the clock at its moment,
        and how far that is. Otherwise the clock stands still until the last was given, or this is closed.

        Raises:
            RuntimeError: another call has not come to its end.
        """
        if self._is_moved:
            raise RuntimeError("the NAT's clock is being moved on already")
        self._disarm(-math.inf)
        try:
            with self._clock.held():
                began_s = self.now_s()
                until_s = began_s + seconds
                while (due_s := self._timers.next_due_s) is not None and due_s <= until_s:
                    self._clock.move_to(due_s)
                    if (callback := self._timers.take_first()) is not None:
                        yield max(0.0, due_s - began_s), partial(self._call, callback)
                self._clock.move_to(until_s)
        finally:
            self._armed_for_s = math.inf
            self._arm()

    def skip(self, seconds: float) -> None:
        """Move the clock on, and have what is due by then happen soon, all of it late."""
        self._clock.move_to(self.now_s() + seconds)
        self._disarm(math.inf)
        self._arm()

    @property
    def _is_moved(self) -> bool:
        return self._armed_for_s == -math.inf

    def _arm(self) -> None:
        due_s = self._timers.next_due_s
        if due_s is None or due_s >= self._armed_for_s:
            return
        left_s = due_s - self.now_s()
        if left_s > 0 and self._clock.stands_still:
            return
        self._disarm(due_s)
        self._armed = self._loop.call_later(left_s / self._clock.scale, self._on_due)

    def _disarm(self, armed_for_s: float) -> None:
        if self._armed is not None:
            self._armed.cancel()
            self._armed = None
        self._armed_for_s = armed_for_s

    def _on_due(self) -> None:
        due_s, self._armed, self._armed_for_s = self._armed_for_s, None, math.inf
        for callback in self._timers.due(due_s):
            self._call(callback)
        self._arm()

    def _call(self, callback: Callable[[], Any]) -> None:
        try:
            callback()
        except Exception as fault:
            self._on_fault(fault)
