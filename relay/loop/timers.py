"""Timers on one heap.

Most of them, handshake and connect limits above all, are cancelled long before they are due. A cancelled timer stays on
the heap until it surfaces, or until such timers are the greater part, when the heap is built anew.
"""

from __future__ import annotations

import heapq
import itertools
from collections.abc import Callable, Iterator

_COMPACT_ABOVE = 512  # below this many a rebuild saves nothing worth its time


class Timer:
    """A callback that is due at a moment; `cancel` is harmless at any time."""

    __slots__ = ("_callback", "_timers", "due_s")

    def __init__(self, timers: Timers, due_s: float, callback: Callable[[], None]) -> None:
        self._timers = timers
        self._callback: Callable[[], None] | None = callback
        self.due_s = due_s

    def cancel(self) -> None:
        if self._callback is not None:
            self._callback = None
            self._timers.count_cancelled()

    def take(self) -> Callable[[], None] | None:
        """The callback, once; None if it was cancelled."""
        callback, self._callback = self._callback, None
        return callback


class Timers:
    """The timers of one engine, in seconds on its clock."""

    def __init__(self) -> None:
        self._heap: list[tuple[float, int, Timer]] = []
        self._order = itertools.count()
        self._cancelled = 0

    def add(self, due_s: float, callback: Callable[[], None]) -> Timer:
        timer = Timer(self, due_s, callback)
        heapq.heappush(self._heap, (due_s, next(self._order), timer))
        return timer

    @property
    def next_due_s(self) -> float | None:
        """When the earliest timer is due; it may turn out to be cancelled."""
        return self._heap[0][0] if self._heap else None

    def due(self, now_s: float) -> Iterator[Callable[[], None]]:
        """Take out what is due, one after the other: calling one may cancel the next."""
        while self._heap and self._heap[0][0] <= now_s:
            if (callback := self.take_first()) is not None:
                yield callback

    def take_first(self) -> Callable[[], None] | None:
        """Take out the earliest timer, which must exist; None if it was cancelled."""
        callback = heapq.heappop(self._heap)[2].take()
        if callback is None:
            self._cancelled -= 1
        return callback

    def clear(self) -> None:
        """Let go of every timer and its callback; none becomes due."""
        for _, _, timer in self._heap:
            timer.take()
        self._heap.clear()

    def count_cancelled(self) -> None:
        self._cancelled += 1
        if self._cancelled > _COMPACT_ABOVE and self._cancelled * 2 > len(self._heap):
            self._heap = [entry for entry in self._heap if entry[2]._callback is not None]  # noqa: SLF001 - its own part
            heapq.heapify(self._heap)
            self._cancelled = 0
