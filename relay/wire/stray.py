"""Segments that belong to no connection: which of them open one, and how the others are answered.

                             answer
    RST                      silence
    ACK                      RST at SEG.ACK                    the window of either is `stray_window`
    SYN, FIN or a payload    RST,ACK of all that it has        its FIN not counted, unless `count_stray_fin`
    SYN with FIN             silence                           unless `syn_fin_dials`
    none of these            silence                           as in LISTEN, for here every port may be open

RFC 9293 section 3.10.7.1 (CLOSED) and 3.10.7.2 (LISTEN).
"""

from __future__ import annotations

from relay.stack import Stack
from relay.wire.segment import ACK, FIN, RST, SYN, Segment
from relay.wire.sequence import MASK


def opens(segment: Segment, stack: Stack) -> bool:
    """Whether a segment asks for a connection."""
    flags = segment.flags
    return flags & (SYN | ACK | RST) == SYN and (not flags & FIN or stack.syn_fin_dials)


def answer(segment: Segment, stack: Stack) -> Segment | None:
    """The RST for a segment that has no connection, or whose connection is refused; None for silence."""
    flags = segment.flags
    if flags & RST:
        return None
    if flags & ACK:
        return Segment(segment.ack, 0, RST, stack.stray_window)
    if not flags & (SYN | FIN) and not segment.payload:
        return None
    if flags & SYN and flags & FIN and not stack.syn_fin_dials:
        return None
    length = segment.length
    if flags & FIN and not stack.count_stray_fin:
        length -= 1
    return Segment(0, segment.seq + length & MASK, RST | ACK, stack.stray_window)
