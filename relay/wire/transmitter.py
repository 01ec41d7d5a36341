"""Sends segments to the guest: each in an IP packet as the stack's settings have it."""

from __future__ import annotations

from relay.stack import Stack
from relay.wire.ends import Ends
from relay.wire.fragments import cut
from relay.wire.link import Link
from relay.wire.packet import IPV4_HEADER_BYTES, TCP, Buffer, build_ipv4, partial_checksum, tcp_checksum
from relay.wire.segment import Segment, build_segment

_CHECKSUM_AT = 16


class Transmitter:
    """What all packets of one NAT have in common: the link, and the count of packets that numbers them."""

    def __init__(self, link: Link, stack: Stack) -> None:
        self._link = link
        self._offload = link.offload
        self._ttl = stack.ttl
        self._dont_fragment = stack.dont_fragment
        self._counts = stack.ip_id == "counter"
        self._sent = 0

    def send_segment(self, ends: Ends, segment: Segment, segment_bytes: int = 0) -> None:
        """Send a segment from the connection's destination to the guest.

        A super-segment, which takes a link with `offload`, stands for several with `segment_bytes` of payload each.
        """
        header, payload = bytearray(build_segment(ends.port, ends.guest_port, segment)), segment.payload
        if self._offload:
            value = partial_checksum(ends.address, ends.guest_address, TCP, len(header) + len(payload))
        else:
            value = tcp_checksum(ends.address, ends.guest_address, header, payload)
        header[_CHECKSUM_AT : _CHECKSUM_AT + 2] = value.to_bytes(2)
        ip = self._ip_header(ends.address, ends.guest_address, TCP, len(header) + len(payload), self._next_ident())
        self._link.send((ip, header, payload), segment_bytes if self._offload else None)

    def send(self, source: int, destination: int, protocol: int, header: Buffer, payload: Buffer) -> None:
        """Send one IP packet that is complete, in fragments if it is too long for the link."""
        length = len(header) + len(payload)
        ident = self._next_ident()
        if IPV4_HEADER_BYTES + length <= self._link.mtu:
            ip = self._ip_header(source, destination, protocol, length, ident)
            self._link.send((ip, header, payload))
            return
        for offset, more, part in cut((header, payload), self._link.mtu):
            ip = build_ipv4(
                source,
                destination,
                protocol,
                len(part),
                ttl=self._ttl,
                ident=self._sent & 0xFFFF,  # fragments need one, whatever other packets have
                more_fragments=more,
                fragment_offset=offset,
            )
            self._link.send((ip, part))

    def _next_ident(self) -> int:
        self._sent += 1
        return self._sent & 0xFFFF if self._counts else 0

    def _ip_header(self, source: int, destination: int, protocol: int, payload_bytes: int, ident: int) -> bytes:
        return build_ipv4(
            source,
            destination,
            protocol,
            payload_bytes,
            ttl=self._ttl,
            ident=ident,
            dont_fragment=self._dont_fragment,
        )
