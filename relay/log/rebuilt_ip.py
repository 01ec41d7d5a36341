"""IP packets that were not captured, made of what is known of them: the ends, and what was carried."""

from __future__ import annotations

import ipaddress
import struct
from typing import TypeAlias

from relay.address import Endpoint
from relay.log.pcapng import Buffer

ICMP, TCP, UDP = 1, 6, 17
Ip: TypeAlias = ipaddress.IPv4Address | ipaddress.IPv6Address

_IPV4 = struct.Struct(">BBHHHBBH4s4s")
_IPV6 = struct.Struct(">IHBB16s16s")
_UDP = struct.Struct(">HHHH")
_TTL = 64
_DONT_FRAGMENT = 0x4000
_UNKNOWN = ipaddress.IPv4Address(0)


def addresses_of(one: Endpoint, other: Endpoint) -> tuple[Ip, Ip]:
    """Both as they are, or both as IPv6: where one is, IPv4 is mapped into it (RFC 4291 section 2.5.5.2)."""
    first, second = one.ip or _UNKNOWN, other.ip or _UNKNOWN
    if first.version == second.version:
        return first, second
    return _as_ipv6(first), _as_ipv6(second)


def datagram(protocol: int, source: Endpoint, destination: Endpoint, message: Buffer) -> list[Buffer]:
    """A whole packet: of UDP with this payload, or with this ICMP message."""
    near, far = addresses_of(source, destination)
    if protocol != UDP:
        return [ip_header(near, far, protocol, len(message)), message]
    length = _UDP.size + len(message)
    ports = source.port, destination.port
    value = checksum(pseudo_header(near, far, UDP, length) + _UDP.pack(*ports, length, 0) + bytes(message))
    header = _UDP.pack(*ports, length, int.from_bytes(value) or 0xFFFF)  # RFC 768: 0 is none
    return [ip_header(near, far, UDP, length), header, message]


def ip_header(source: Ip, destination: Ip, protocol: int, length: int, tos: int = 0) -> bytes:
    """The header before so many bytes."""
    if source.version == 6:
        return _IPV6.pack(6 << 28 | tos << 20, length, protocol, _TTL, source.packed, destination.packed)
    total = _IPV4.size + length
    fields = (0x45, tos, total, 0, _DONT_FRAGMENT, _TTL, protocol, 0, source.packed, destination.packed)
    header = _IPV4.pack(*fields)
    return header[:10] + checksum(header) + header[12:]


def pseudo_header(source: Ip, destination: Ip, protocol: int, length: int) -> bytes:
    """What a checksum covers beside the bytes themselves; the order differs in IPv6, and the sum does not."""
    return source.packed + destination.packed + struct.pack(">II", length, protocol)


def checksum(data: bytes) -> bytes:
    """RFC 1071: the complement of the sum of 16-bit words."""
    return (0xFFFF - int.from_bytes(data + bytes(len(data) % 2)) % 0xFFFF).to_bytes(2)


def _as_ipv6(ip: Ip) -> Ip:
    return ip if ip.version == 6 else ipaddress.IPv6Address(b"\0" * 10 + b"\xff\xff" + ip.packed)
