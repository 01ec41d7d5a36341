"""The far end of a guest's connection, made of single segments: what a test of a link needs of TCP, and no more."""

from __future__ import annotations

import struct
from typing import Any, NamedTuple

import anyio

from relay.wire.link import Link
from relay.wire.packet import TCP, Ipv4, build_ipv4, parse_ipv4, partial_checksum, tcp_checksum

FIN, SYN, PSH, ACK = 1, 2, 8, 16
_HEADER = struct.Struct(">HHIIBBHHH")


class Segment(NamedTuple):
    """A TCP segment from the guest."""

    ip: Ipv4
    source_port: int
    destination_port: int
    seq: int
    ack: int
    flags: int
    data: bytes


async def next_datagram(link: Link) -> memoryview:
    """The next datagram from the guest, once it has come."""
    while True:
        if (datagram := link.receive()) is not None:
            return datagram
        device: Any = getattr(link, "_link", link)  # what is below, where it carries frames
        await anyio.wait_readable(device)


async def next_segment(link: Link) -> Segment:
    """The next TCP segment from the guest."""
    while True:
        ip = parse_ipv4(await next_datagram(link))
        if ip is not None and ip.protocol == TCP:
            source_port, destination_port, seq, ack, offset, flags, _, _, _ = _HEADER.unpack_from(ip.payload)
            data = bytes(ip.payload[(offset >> 4) * 4 :])
            return Segment(ip, source_port, destination_port, seq, ack, flags, data)


class Peer:
    """Answers one guest's connection."""

    def __init__(self, link: Link, syn: Segment) -> None:
        self._link = link
        self._syn = syn
        self.seq = 1000
        self.acked = (syn.seq + 1) & 0xFFFFFFFF

    def send(self, flags: int, data: bytes = b"", *, options: bytes = b"", segment_bytes: int | None = None) -> bool:
        """Send a segment, complete, or for the kernel to complete and to cut."""
        source, destination = self._syn.ip.destination, self._syn.ip.source
        ends = self._syn.destination_port, self._syn.source_port
        words = (20 + len(options)) // 4 << 4
        header = bytearray(_HEADER.pack(*ends, self.seq, self.acked, words, flags, 64240, 0, 0) + options)
        length = len(header) + len(data)
        if segment_bytes is None:
            value = tcp_checksum(source, destination, header, data)
        else:
            value = partial_checksum(source, destination, TCP, length)
        header[16:18] = value.to_bytes(2)
        self.seq += len(data) + (flags & SYN) // SYN + (flags & FIN)
        return self._link.send((build_ipv4(source, destination, TCP, length, ttl=128), header, data), segment_bytes)


async def answer(link: Link) -> Peer:
    """Take the guest's next connection, with an MSS of 1460."""
    while (syn := await next_segment(link)).flags != SYN:
        pass
    peer = Peer(link, syn)
    peer.send(SYN | ACK, options=bytes((2, 4)) + (1460).to_bytes(2))
    return peer


async def receive_exactly(peer: Peer, link: Link, count: int) -> tuple[bytes, int]:
    """Take `count` bytes of the guest's, acknowledging each segment; and the size of the largest segment."""
    data, largest = b"", 0
    while len(data) < count:
        segment = await next_segment(link)
        if segment.data:
            assert segment.seq == peer.acked
            data += segment.data
            largest = max(largest, len(segment.data))
            peer.acked = (segment.seq + len(segment.data)) & 0xFFFFFFFF
            peer.send(ACK)
    return data, largest
