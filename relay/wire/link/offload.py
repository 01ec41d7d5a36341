"""Work that the guest's kernel and the link leave to each other (VIRTIO 1.2, section 5.1.6: struct virtio_net_hdr).

In front of every datagram stand 10 bytes, which say two things:

    checksum partial   the TCP or UDP checksum holds the pseudo header's sum alone; between memory and memory nothing
                       is ever wrong, so no side goes through the bytes
    super-segment      a TCP segment of up to 64 KiB, to be taken for several of `segment_bytes` each

A guest's kernel sends super-segments if the link takes them, and takes them for what they stand for. For bulk that is
10 to 20 times as fast as a segment at a time. What it costs in likeness: one super-segment in is one segment to the
NAT, which answers it with one ACK, and a capture in the guest shows it whole.
"""

from __future__ import annotations

import struct

from relay.wire.packet import IPV4_HEADER_BYTES, checksum

HEADER_BYTES = 10
PLAIN = bytes(HEADER_BYTES)
"""In front of a datagram that is complete."""

_HEADER = struct.Struct("=BBHHHH")  # flags, type, all headers' bytes, segment's bytes, sum from, sum at from there
_NEEDS_CHECKSUM, _CHECKSUM_VALID = 1, 2
_TCP_V4 = 1
_TCP_CHECKSUM_AT = 16
_UDP_CHECKSUM_AT = 6


def for_segment(ip_at: int, headers_bytes: int, segment_bytes: int) -> bytes:
    """Return what stands in front of a TCP segment with a partial checksum.

    The IP header is at `ip_at`, all headers together have `headers_bytes`. With a `segment_bytes` of 0 it is one
    segment, else a super-segment.
    """
    return _HEADER.pack(
        _NEEDS_CHECKSUM,
        _TCP_V4 if segment_bytes else 0,
        headers_bytes,
        segment_bytes,
        ip_at + IPV4_HEADER_BYTES,
        _TCP_CHECKSUM_AT,
    )


def take_in(header: bytes | bytearray, datagram: memoryview) -> bool:
    """Return whether what was received behind this header needs no check of its TCP checksum.

    A partial checksum of UDP is completed in place, so that only TCP has such.
    """
    flags: int
    flags, _, _, _, start, offset = _HEADER.unpack(header)
    if flags & _NEEDS_CHECKSUM and offset == _UDP_CHECKSUM_AT and start + offset + 2 <= len(datagram):
        value = checksum(datagram[start:]) or 0xFFFF
        datagram[start + offset : start + offset + 2] = value.to_bytes(2)
    return flags & (_NEEDS_CHECKSUM | _CHECKSUM_VALID) != 0
