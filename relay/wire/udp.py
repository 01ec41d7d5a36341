"""UDP through the NAT: which of the host's sockets a datagram leaves by, and what the guest gets back.

A guest's address and port are mapped to one socket, for all destinations (endpoint-independent mapping, RFC 4787
section 4.1). A datagram from any source to that socket reaches the guest (endpoint-independent filtering, section 5). A
datagram in either direction keeps the mapping; how it ends is in `relay.wire.mappings`. After that a reply is dropped,
and the guest's next datagram makes a new mapping, with another port of the host.

A datagram leaves with the host's own TTL and TOS. So all probes of a traceroute arrive at their destination, and the
ICMP errors that they cause go to the host. Of these only port unreachable is passed on to the guest, and that only if
`port_unreachable` is set.
"""

from __future__ import annotations

from typing import NamedTuple, TypeAlias

from relay.wire.mappings import Close, End, Mappings, Open
from relay.wire.packet import (
    ICMP,
    IPV4_HEADER_BYTES,
    UDP,
    UDP_HEADER_BYTES,
    Buffer,
    Ipv4,
    Udp,
    build_icmp,
    build_ipv4,
    build_udp,
)

MAX_MAPPINGS = 1024
_UNREACHABLE, _PORT = 3, 3  # RFC 792
_QUOTED_TTL = 64  # the one that it arrived with is not known


class Send(NamedTuple):
    """Send a datagram from an end's socket."""

    end: End
    destination: int
    port: int
    payload: Buffer


class Packet(NamedTuple):
    """The payload of an IP packet to the guest, in two parts."""

    source: int
    destination: int
    protocol: int
    header: Buffer
    payload: Buffer


Step: TypeAlias = Open | Close | Send


class UdpNat:
    """One NAT's UDP. Times are seconds on the NAT's clock."""

    def __init__(self, *, idle_s: float, port_unreachable: bool, limit: int = MAX_MAPPINGS) -> None:
        """`idle_s` and `port_unreachable` are the stack's settings of that name."""
        self.wants_refusals = port_unreachable
        """Whether `on_refused` makes anything of them."""
        self._mappings = Mappings(idle_s, limit)

    def __len__(self) -> int:
        """How many mappings there are."""
        return len(self._mappings)

    @property
    def next_deadline_s(self) -> float | None:
        """When `on_deadline` is to be called."""
        return self._mappings.next_sweep_s

    def on_datagram(self, ip: Ipv4, udp: Udp, now_s: float) -> list[Step]:
        """The guest sends a datagram; returns what is to be done, in order."""
        if not udp.source_port or not udp.destination_port:
            return []
        end = End(ip.source, udp.source_port)
        return [*self._mappings.use(end, now_s), Send(end, ip.destination, udp.destination_port, udp.payload)]

    def on_failed(self, end: End) -> None:
        """The end's socket could not be opened."""
        self._mappings.forget(end)

    def on_reply(self, end: End, source: int, port: int, payload: Buffer, now_s: float) -> Packet | None:
        """A datagram came for an end; None if it is not mapped any more."""
        if not self._mappings.touch(end, now_s):
            return None
        header = build_udp(source, end.address, port, end.number, payload)
        return Packet(source, end.address, UDP, header, payload)

    def on_refused(self, end: End, destination: int, port: int, size_bytes: int) -> Packet | None:
        """A destination has no such port: it has answered a datagram of this size with ICMP; None if that is dropped.

        What is quoted is made anew, for the host was sent a quotation of its own datagram.
        """
        if not self.wants_refusals:
            return None
        length = UDP_HEADER_BYTES + size_bytes
        if length > 0xFFFF - IPV4_HEADER_BYTES:
            return None
        quoted = build_ipv4(end.address, destination, UDP, length, ttl=_QUOTED_TTL)
        quoted += b"".join(number.to_bytes(2) for number in (end.number, port, length, 0))
        return Packet(destination, end.address, ICMP, build_icmp(_UNREACHABLE, _PORT, 0, 0, quoted), quoted)

    def on_deadline(self, now_s: float) -> list[Close]:
        """End the mappings that are idle for long enough."""
        return self._mappings.sweep(now_s)
