"""TCP segments as values, with their options (RFC 9293 section 3.1).

What a segment says is kept, how it was laid out is not: the order of options, padding and unknown options are gone
once it is parsed. Checksums need the addresses around a segment and belong to `relay.wire.packet`.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import Final

FIN: Final = 1
SYN: Final = 2
RST: Final = 4
PSH: Final = 8
ACK: Final = 16
URG: Final = 32
ECE: Final = 64
CWR: Final = 128

_HEADER = struct.Struct("!HHIIBBHHH")  # ports, sequence, acknowledgement, offset, flags, window, checksum, urgent
_END, _NOP, _MSS, _WINDOW_SCALE, _SACK_PERMITTED, _SACK, _TIMESTAMPS = 0, 1, 2, 3, 4, 5, 8  # IANA's option kinds
_LENGTHS = {_MSS: (4,), _WINDOW_SCALE: (3,), _SACK_PERMITTED: (2,), _SACK: (10, 18, 26, 34), _TIMESTAMPS: (10,)}


@dataclass(slots=True)
class Segment:
    """One segment, without its ports. Treat it as a value; it is not frozen, for that would cost 2 us a segment."""

    seq: int
    ack: int = 0
    """Meaningless unless `flags` has ACK."""
    flags: int = 0
    window: int = 0
    """As in the header: bytes, before any scaling."""
    payload: bytes | memoryview = b""
    tos: int = 0
    """The TOS byte of the IP header around it."""
    urgent: int = 0
    mss: int | None = None
    window_scale: int | None = None
    sack_permitted: bool = False
    timestamps: tuple[int, int] | None = None
    """TSval and TSecr (RFC 7323)."""
    sack: tuple[tuple[int, int], ...] = ()
    """Blocks that arrived out of order, as sequence numbers (RFC 2018)."""

    @property
    def length(self) -> int:
        """What it takes of the sequence space: its payload, its SYN and its FIN (SEG.LEN)."""
        return len(self.payload) + (self.flags >> 1 & 1) + (self.flags & 1)


def parse_segment(octets: memoryview, *, tos: int = 0) -> tuple[int, int, Segment] | None:
    """Read a header and what follows it: source port, destination port, segment; None if the header is malformed.

    The payload is a view of `octets`. An option of a wrong length ends the options and leaves the segment sound
    (RFC 9293 MUST-7: options with illegal lengths must not do harm).
    """
    if len(octets) < 20:
        return None
    source, destination, seq, ack, offset, flags, window, _, urgent = _HEADER.unpack_from(octets)
    offset = offset >> 4 << 2
    if offset == 20:
        return source, destination, Segment(seq, ack, flags, window, octets[20:], tos, urgent)
    if offset < 20 or offset > len(octets):
        return None
    segment = Segment(seq, ack, flags, window, octets[offset:], tos, urgent)
    _read_options(segment, octets[20:offset])
    return source, destination, segment


def build_segment(source_port: int, destination_port: int, segment: Segment) -> bytes:
    """The header with its options, the checksum zero; the payload is not copied in."""
    options = _write_options(segment)
    return (
        _HEADER.pack(
            source_port,
            destination_port,
            segment.seq,
            segment.ack,
            80 + (len(options) << 2),  # the header's length in words of 32 bits, in the upper half of the octet
            segment.flags,
            segment.window,
            0,
            segment.urgent,
        )
        + options
    )


def _read_options(segment: Segment, options: memoryview) -> None:
    at, end = 0, len(options)
    while at < end:
        kind = options[at]
        if kind == _NOP:
            at += 1
            continue
        if kind == _END or at + 1 >= end:
            return
        length = options[at + 1]
        if length < 2 or at + length > end or (kind in _LENGTHS and length not in _LENGTHS[kind]):
            return
        value = options[at + 2 : at + length]
        if kind == _MSS:
            (segment.mss,) = struct.unpack("!H", value)
        elif kind == _WINDOW_SCALE:
            segment.window_scale = value[0]
        elif kind == _SACK_PERMITTED:
            segment.sack_permitted = True
        elif kind == _TIMESTAMPS:
            segment.timestamps = struct.unpack("!II", value)
        elif kind == _SACK:
            segment.sack = tuple(struct.iter_unpack("!II", value))
        at += length


def _write_options(segment: Segment) -> bytes:
    options = b""
    if segment.mss is not None:
        options += struct.pack("!BBH", _MSS, 4, segment.mss)
    if segment.sack_permitted:
        options += bytes((_SACK_PERMITTED, 2))
    if segment.timestamps is not None:
        options += struct.pack("!BBII", _TIMESTAMPS, 10, *segment.timestamps)
    if segment.window_scale is not None:
        options += bytes((_WINDOW_SCALE, 3, segment.window_scale))
    if segment.sack:
        edges = [edge for block in segment.sack for edge in block]
        options += struct.pack(f"!BB{len(edges)}I", _SACK, 2 + 4 * len(edges), *edges)
    return options + bytes(-len(options) % 4)  # zeros: the end of the options
