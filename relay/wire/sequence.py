"""Sequence numbers: 32 bits on the wire, plain integers inside (RFC 9293 section 3.4).

A *position* is an integer whose low 32 bits are a sequence number. The positions of one direction are compared and
subtracted as the integers that they are, so no other module knows that sequence numbers wrap.
"""

from __future__ import annotations

from typing import Final

MASK: Final = 0xFFFF_FFFF
"""`position & MASK` is the sequence number on the wire."""
_HALF: Final = 0x8000_0000


def position(number: int, near: int) -> int:
    """Of all positions that have this sequence number, the one nearest to `near`."""
    return near + ((number - near + _HALF) & MASK) - _HALF


def acceptable(start: int, length: int, expected: int, right: int) -> bool:
    """Whether a segment has its first or its last octet in the window from `expected` to `right`.

    The four cases of RFC 9293 section 3.10.7.4: a segment without length, or a window without room, or neither.
    """
    if length == 0:
        return start == expected if right == expected else expected <= start < right
    return expected <= start < right or expected <= start + length - 1 < right
