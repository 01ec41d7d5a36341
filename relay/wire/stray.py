"""Answers to segments that belong to no connection (RFC 9293 section 3.10.7.1)."""

from __future__ import annotations

from relay.wire.segment import ACK, FIN, RST, SYN, Segment
from relay.wire.sequence import MASK
from relay.wire.stack import Stack


def answer(segment: Segment, stack: Stack) -> Segment | None:
    """The RST that a segment without a connection deserves; None for silence."""
    flags = segment.flags
    if flags & RST:
        return None
    if flags & ACK:
        return Segment(segment.ack, 0, RST, stack.stray_window)
    if not flags & (SYN | FIN) and not segment.payload:
        return None  # no flag that asks for anything
    length = segment.length
    if flags & FIN and not stack.count_stray_fin:
        length -= 1
    return Segment(0, segment.seq + length & MASK, RST | ACK, stack.stray_window)
