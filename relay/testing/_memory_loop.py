"""A loop that moves only on command: no sockets, no threads, and a clock that stands still.

    loop.settle()         everything that was put off, until nothing is
    loop.advance(30)      what is due within 30 s, in order, settling after each

So a test of half an hour takes no time, and comes out the same each time.
"""

from __future__ import annotations

import heapq
import itertools
from collections import deque
from collections.abc import Callable
from typing import Any

_BUFFER_BYTES = 64 * 1024
_MAX_TURNS = 100_000  # settling that takes longer never ends


class MemoryLoop:
    """A `relay.legs.Loop` for tests. `now_s` starts at 0."""

    def __init__(self) -> None:
        self.buffer = memoryview(bytearray(_BUFFER_BYTES))
        self._now_s = 0.0
        self._soon: deque[Callable[[], Any]] = deque()
        self._timers: list[tuple[float, int, MemoryTimer]] = []
        self._order = itertools.count()

    def now_s(self) -> float:
        return self._now_s

    def call_soon(self, callback: Callable[[], Any]) -> None:
        self._soon.append(callback)

    def call_later(self, delay_s: float, callback: Callable[[], Any]) -> MemoryTimer:
        timer = MemoryTimer(callback)
        heapq.heappush(self._timers, (self._now_s + delay_s, next(self._order), timer))
        return timer

    @property
    def next_due_s(self) -> float | None:
        """When the next timer is due that was not cancelled."""
        while self._timers and self._timers[0][2].callback is None:
            heapq.heappop(self._timers)
        return self._timers[0][0] if self._timers else None

    def settle(self) -> None:
        """Run what was put off, and what that puts off, until nothing is left.

        Raises:
            RuntimeError: there is always more.
        """
        for _ in range(_MAX_TURNS):
            if not self._soon:
                return
            self._soon.popleft()()
        raise RuntimeError("it does not settle: each turn puts something off again")

    def advance(self, seconds: float) -> None:
        """Let so much time pass: settle, then run each due timer at its own moment, settling after it."""
        until_s = self._now_s + seconds
        self.settle()
        while (due_s := self.next_due_s) is not None and due_s <= until_s:
            self._now_s = max(self._now_s, due_s)
            heapq.heappop(self._timers)[2].run()
            self.settle()
        self._now_s = until_s


class MemoryTimer:
    """A call that is due on a `MemoryLoop`."""

    def __init__(self, callback: Callable[[], Any]) -> None:
        self.callback: Callable[[], Any] | None = callback

    def cancel(self) -> None:
        self.callback = None

    def run(self) -> None:
        """Call it, unless it was cancelled."""
        callback, self.callback = self.callback, None
        if callback is not None:
            callback()
