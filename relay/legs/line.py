"""When what was written passes a line of a `Shape`, and how much of it at once: times in, times and counts out.

A piece is due `delay_s` after it was written, and not before the line is free: what was sent before it takes its time
at the shape's rate. A new shape holds at once, also for what waits already.
"""

from __future__ import annotations

from collections.abc import Callable

from relay.shape import PLAIN, Shape

HELD_BYTES = 4 << 20
"""How much waits at most before its source is no longer read; at a rate, what passes in a quarter of a second, and
beside that what is on its way during the delay."""
_ON_THE_WAY_BYTES = 64 << 20  # of that at most
_LEAST_HELD_BYTES = 64 << 10
_TICK_S = 0.005  # at a rate, how much passes at once
_LEAST_PIECE_BYTES = 512
_CATCH_UP_S = 0.1  # a line that was late, by a busy host or a peer without room, makes up for so much


class Line:
    """One direction of a connection, as far as its shape decides."""

    __slots__ = ("_draw", "_free_s", "passed_bytes", "shape")

    def __init__(self, draw: Callable[[], float]) -> None:
        """`draw` gives a number from 0 to 1, 1 excluded, for jitter and for slices that vary."""
        self._draw = draw
        self.shape: Shape = PLAIN
        self.passed_bytes = 0
        """How many bytes have passed so far: what `limit_bytes` limits."""
        self._free_s = 0.0

    @property
    def most_held_bytes(self) -> int:
        """How much may wait before its source is no longer read."""
        shape = self.shape
        if not shape.rate_bytes_per_s:
            return HELD_BYTES
        waiting = min(HELD_BYTES, max(_LEAST_HELD_BYTES, int(shape.rate_bytes_per_s * 0.25)))
        return waiting + min(_ON_THE_WAY_BYTES, int(shape.rate_bytes_per_s * shape.delay_s))

    @property
    def is_at_limit(self) -> bool:
        """Whether as much has passed as the shape lets pass."""
        return self.shape.limit_bytes is not None and self.passed_bytes >= self.shape.limit_bytes

    def draw_lag(self) -> float:
        """The part of the jitter, from -1 to 1, that a piece has."""
        return 2 * self._draw() - 1 if self.shape.jitter_s else 0.0

    def due_s(self, written_s: float, lag: float, *, is_end: bool) -> float:
        """When a piece that was written then may pass; `lag`, from -1 to 1, is its part of the jitter."""
        shape = self.shape
        delay_s = max(0.0, shape.delay_s + lag * shape.jitter_s)
        if is_end:
            delay_s += shape.end_delay_s
        return max(written_s + delay_s, self._free_s)

    def piece_bytes(self, size: int) -> int:
        """How much of so many bytes passes at once; 0 past the limit."""
        shape = self.shape
        if shape.rate_bytes_per_s:
            size = min(size, max(_LEAST_PIECE_BYTES, int(shape.rate_bytes_per_s * _TICK_S)))
        if shape.slice_bytes:
            size = min(size, self._slice_bytes())
        return min(size, self.passing_bytes(size))

    def passes_at_once(self, size: int, now_s: float) -> bool:
        """Whether so many bytes that are written now, and have nothing before them, pass now and whole."""
        shape = self.shape
        if shape.delay_s or shape.jitter_s or shape.slice_variation_bytes or self._free_s > now_s:
            return False
        return self.piece_bytes(size) == size

    def _slice_bytes(self) -> int:
        """How much the next slice has."""
        size, variation = self.shape.slice_bytes, self.shape.slice_variation_bytes
        if variation:
            size = max(1, size - variation + int(self._draw() * (2 * variation + 1)))
        return size

    def passing_bytes(self, size: int) -> int:
        """How many of so many bytes pass sooner or later, as the shape is now."""
        shape = self.shape
        if shape.stall:
            return 0
        if shape.limit_bytes is not None:
            return min(size, max(0, shape.limit_bytes - self.passed_bytes))
        return size

    def take(self, size: int, *, due_s: float, now_s: float) -> None:
        """So many bytes pass now, which were due then: the line is not free until they have."""
        shape = self.shape
        self.passed_bytes += size
        takes_s = size / shape.rate_bytes_per_s if shape.rate_bytes_per_s else 0.0
        pause_s = shape.slice_delay_s if shape.slice_bytes else 0.0
        self._free_s = max(due_s, now_s - _CATCH_UP_S) + takes_s + pause_s
