"""As much of a NAT as its UDP, ICMP and DNS need, on any link: their packets in and out, and nothing else."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from relay.address import Endpoint
from relay.wire.addresses import Addresses, addresses_in
from relay.wire.packet import (
    ICMP,
    UDP,
    Buffer,
    Icmp,
    Ipv4,
    Udp,
    build_icmp,
    build_ipv4,
    build_udp,
    dotted,
    parse_icmp,
    parse_ipv4,
    parse_udp,
)

ADDRESSES = addresses_in("192.168.27.0/24")
TTL = 128


@dataclass
class Outside:
    """The network's host address is the host's loopback, unless it is turned off; see `relay.wire.host.outside`."""

    addresses: Addresses = ADDRESSES
    host: bool = True

    def translated(self, destination: int, port: int) -> Endpoint:
        return Endpoint("127.0.0.1" if destination == self.addresses.host else dotted(destination), port)

    def seen_as(self, source: int) -> int | None:
        if source >> 24 == 127:
            return self.addresses.host if self.host else None
        return source


@dataclass
class Guest:
    """Keeps what is sent to it, read again from the packets."""

    received: list[tuple[str, Udp | Icmp]] = field(default_factory=list)
    """Where each came from, and what it was."""
    changed: Callable[[], object] = lambda: None

    def send(self, source: int, destination: int, protocol: int, header: Buffer, payload: Buffer) -> None:
        whole = build_ipv4(source, destination, protocol, len(header) + len(payload), ttl=TTL) + header + payload
        ip = parse_ipv4(memoryview(whole))
        assert ip is not None
        assert ip.destination == ADDRESSES.guest
        read = parse_udp(ip) if protocol == UDP else parse_icmp(ip)
        assert read is not None, "its checksum is wrong"
        self.received.append((dotted(source), read))
        self.changed()


def datagram(source_port: int, destination: int, port: int, payload: bytes, **header: Any) -> tuple[Ipv4, Udp]:
    """What the guest sends, as it is parsed."""
    udp = build_udp(ADDRESSES.guest, destination, source_port, port, payload)
    ip = _packet(destination, UDP, udp + payload, header)
    parsed = parse_udp(ip)
    assert parsed is not None
    return ip, parsed


def message(
    destination: int,
    payload: bytes = b"",
    *,
    kind: int = 8,
    code: int = 0,
    ident: int = 7,
    sequence: int = 1,
    ttl: int = 64,
) -> tuple[Ipv4, Icmp]:
    """An ICMP message that the guest sends, as it is parsed."""
    ip = _packet(destination, ICMP, build_icmp(kind, code, ident, sequence, payload) + payload, {"ttl": ttl})
    parsed = parse_icmp(ip)
    assert parsed is not None
    return ip, parsed


def _packet(destination: int, protocol: int, payload: bytes, header: dict[str, Any]) -> Ipv4:
    whole = build_ipv4(ADDRESSES.guest, destination, protocol, len(payload), **{"ttl": 64, **header}) + payload
    ip = parse_ipv4(memoryview(whole))
    assert ip is not None
    return ip
