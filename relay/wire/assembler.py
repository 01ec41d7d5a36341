"""What has arrived of a stream, as ranges only; the bytes lie elsewhere.

next        everything before it has arrived
_ranges     what arrived beyond it: sorted, apart from each other, none touching `next`
"""

from __future__ import annotations

from bisect import bisect_left
from typing import Final

MOST_RANGES: Final = 64
"""More than a window of 44 full segments can have, and little memory for a guest to fill."""


class Assembler:
    """Puts ranges of positions together."""

    __slots__ = ("_ranges", "next")

    def __init__(self, first: int) -> None:
        self.next = first
        self._ranges: list[tuple[int, int]] = []

    @property
    def gaps(self) -> int:
        """How many gaps there are in what has arrived."""
        return len(self._ranges)

    def insert(self, start: int, end: int) -> bool:
        """Take in that everything from `start` up to `end` has arrived; `next` moves if that closes the first gap.

        Returns whether it is remembered: a range that would be one too many is not.
        """
        ranges = self._ranges
        if start <= self.next:
            if end > self.next:
                self.next = end
                while ranges and ranges[0][0] <= self.next:
                    self.next = max(self.next, ranges.pop(0)[1])
            return True
        first = bisect_left(ranges, start, key=_end)  # those before it end too early to touch the new one
        last = first
        while last < len(ranges) and ranges[last][0] <= end:
            start, end = min(start, ranges[last][0]), max(end, ranges[last][1])
            last += 1
        if first == last and len(ranges) >= MOST_RANGES:
            return False
        ranges[first:last] = [(start, end)]
        return True


def _end(arrived: tuple[int, int]) -> int:
    return arrived[1]
