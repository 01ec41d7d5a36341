"""IPv4 (RFC 791), UDP (RFC 768) and ICMP (RFC 792) headers, read from and written to bytes; and the Internet checksum.

A parser takes a memoryview and copies nothing: the payload of what it returns is a view of the packet, and lives as
long as the packet does. It returns None for what is malformed, and never raises. A builder returns the header alone:
who sends has header and payload written as parts of one packet.

An address is a 32-bit integer, 192.168.0.1 is 0xC0A80001. TCP has a module of its own.
"""

from __future__ import annotations

import ipaddress
import struct
from collections.abc import Iterable
from typing import NamedTuple, TypeAlias

Buffer: TypeAlias = bytes | bytearray | memoryview

ICMP, TCP, UDP = 1, 6, 17
IPV4_HEADER_BYTES = 20
"""Without options, which are skipped where there are any, and never written."""
UDP_HEADER_BYTES = 8
ICMP_HEADER_BYTES = 8
TCP_HEADER_BYTES = 20

_IPV4 = struct.Struct(">BBHHHBBHII")
_PSEUDO = struct.Struct(">IIBBH")
_UDP = struct.Struct(">HHHH")
_ICMP = struct.Struct(">BBHHH")
_MAX_BYTES = 0xFFFF
_DONT_FRAGMENT = 0x4000
_MORE_FRAGMENTS = 0x2000
_CHECKSUM_AT = {TCP: 16, UDP: 6}


class Ipv4(NamedTuple):
    """An IPv4 packet. A tuple, because one is made for every packet: a frozen dataclass takes three times as long."""

    source: int
    destination: int
    protocol: int
    ttl: int
    tos: int
    ident: int
    dont_fragment: bool
    more_fragments: bool
    fragment_offset: int
    """In bytes."""
    payload: memoryview

    @property
    def is_fragment(self) -> bool:
        return self.more_fragments or self.fragment_offset > 0


class Udp(NamedTuple):
    """A UDP datagram."""

    source_port: int
    destination_port: int
    payload: memoryview


class Icmp(NamedTuple):
    """An ICMP message. `ident` and `sequence` are an echo's; other messages have other things in those four bytes."""

    kind: int
    code: int
    ident: int
    sequence: int
    payload: memoryview


def parse_ipv4(packet: memoryview) -> Ipv4 | None:
    """Read a packet; None if it is malformed, cut off, of another version, or its header's checksum is wrong.

    What stands behind the packet's total length is padding, and left out.
    """
    if len(packet) < IPV4_HEADER_BYTES:
        return None
    first, tos, total, ident, fragment, ttl, protocol, _, source, destination = _IPV4.unpack_from(packet)
    header_bytes = (first & 0x0F) * 4
    if first >> 4 != 4 or not IPV4_HEADER_BYTES <= header_bytes <= total <= len(packet):
        return None
    if int.from_bytes(packet[:header_bytes]) % 0xFFFF:
        return None
    return Ipv4(
        source,
        destination,
        protocol,
        ttl,
        tos,
        ident,
        fragment & _DONT_FRAGMENT != 0,
        fragment & _MORE_FRAGMENTS != 0,
        (fragment & 0x1FFF) * 8,
        packet[header_bytes:total],
    )


def build_ipv4(
    source: int,
    destination: int,
    protocol: int,
    payload_bytes: int,
    *,
    ttl: int,
    tos: int = 0,
    ident: int = 0,
    dont_fragment: bool = False,
    more_fragments: bool = False,
    fragment_offset: int = 0,
) -> bytes:
    """Return the header for a payload of so many bytes. `fragment_offset` is in bytes, a multiple of 8.

    Raises:
        struct.error: the packet would be longer than 65,535 bytes, or a value does not fit its field.
    """
    fragment = fragment_offset >> 3
    if dont_fragment:
        fragment |= _DONT_FRAGMENT
    if more_fragments:
        fragment |= _MORE_FRAGMENTS
    total = IPV4_HEADER_BYTES + payload_bytes
    # The sum of the header's words, without building the header twice.
    words = (
        0x4500 + tos + total + ident + fragment + (ttl << 8) + protocol
        + (source >> 16) + (source & 0xFFFF) + (destination >> 16) + (destination & 0xFFFF)
    )  # fmt: skip
    return _IPV4.pack(0x45, tos, total, ident, fragment, ttl, protocol, 0xFFFF - words % 0xFFFF, source, destination)


def parse_udp(ip: Ipv4) -> Udp | None:
    """Read the datagram in a packet that is no fragment; None if it is malformed or its checksum is wrong."""
    payload = ip.payload
    if len(payload) < UDP_HEADER_BYTES:
        return None
    source_port, destination_port, length, _ = _UDP.unpack_from(payload)
    if not UDP_HEADER_BYTES <= length <= len(payload) or not is_sound(ip):
        return None
    return Udp(source_port, destination_port, payload[UDP_HEADER_BYTES:length])


def build_udp(source: int, destination: int, source_port: int, destination_port: int, payload: Buffer) -> bytes:
    """Return the header for this payload, between these addresses, with its checksum."""
    length = UDP_HEADER_BYTES + len(payload)
    header = _UDP.pack(source_port, destination_port, length, 0)
    value = checksum(header, payload, start=pseudo_sum(source, destination, UDP, length))
    return header[:6] + (value or 0xFFFF).to_bytes(2)  # 0 would mean: no checksum


def parse_icmp(ip: Ipv4) -> Icmp | None:
    """Read the message in a packet that is no fragment; None if it is too short or its checksum is wrong."""
    payload = ip.payload
    if len(payload) < ICMP_HEADER_BYTES or not is_sound(ip):
        return None
    kind, code, _, ident, sequence = _ICMP.unpack_from(payload)
    return Icmp(kind, code, ident, sequence, payload[ICMP_HEADER_BYTES:])


def build_icmp(kind: int, code: int, ident: int, sequence: int, payload: Buffer) -> bytes:
    """Return the header of a message, with its checksum."""
    header = _ICMP.pack(kind, code, 0, ident, sequence)
    return _ICMP.pack(kind, code, checksum(header, payload), ident, sequence)


def checksum(*parts: Buffer, start: int = 0) -> int:
    """Return the Internet checksum (RFC 1071) of the parts, one behind the other, as a header has it in its field.

    `start` is added: a sum of 16-bit words, such as `pseudo_sum` returns. Only the last part needs not be of even
    length, but each may be of any.
    """
    return 0xFFFF - _folded(_sum(parts, start))


def pseudo_sum(source: int, destination: int, protocol: int, length: int) -> int:
    """Return the sum of the words of the pseudo header (RFC 9293 section 3.1), for `checksum` to start with.

    A field that holds `partial_checksum` of it is to be completed by the kernel that takes the packet.
    """
    return (
        (source >> 16) + (source & 0xFFFF) + (destination >> 16) + (destination & 0xFFFF) + protocol + length
    )  # fmt: skip


def partial_checksum(source: int, destination: int, protocol: int, length: int) -> int:
    """Return what the checksum's field holds of a segment whose checksum the kernel completes."""
    return _folded(pseudo_sum(source, destination, protocol, length))


def tcp_checksum(source: int, destination: int, header: Buffer, payload: Buffer) -> int:
    """Return the checksum of a segment whose header has 0 in the checksum's place."""
    return checksum(header, payload, start=pseudo_sum(source, destination, TCP, len(header) + len(payload)))


def is_sound(ip: Ipv4) -> bool:
    """Whether the checksum of the TCP, UDP or ICMP in a packet is right; other protocols and fragments pass unchecked.

    A UDP datagram may do without (RFC 768). What is too short for its header is not sound.
    """
    if ip.is_fragment:
        return True
    payload, protocol = ip.payload, ip.protocol
    length = len(payload)
    if protocol == TCP:
        if length < TCP_HEADER_BYTES:
            return False
    elif protocol == UDP:
        if length < UDP_HEADER_BYTES:
            return False
        if payload[6] == payload[7] == 0:
            return True
        length = int.from_bytes(payload[4:6])
        payload = payload[:length]
    elif protocol == ICMP:
        return length >= ICMP_HEADER_BYTES and _sum((payload,), 0) % 0xFFFF == 0
    else:
        return True
    return _sum((payload,), pseudo_sum(ip.source, ip.destination, protocol, length)) % 0xFFFF == 0


def dotted(address: int) -> str:
    """Return an address as people write it."""
    return f"{address >> 24}.{address >> 16 & 255}.{address >> 8 & 255}.{address & 255}"


def undotted(text: str) -> int:
    """Return the address that is written so.

    Raises:
        ValueError: it is not an IPv4 address.
    """
    return int(ipaddress.IPv4Address(text))


def _sum(parts: Iterable[Buffer], start: int) -> int:
    """Return an integer that equals the sum of all 16-bit words modulo 65,535.

    So does the whole of the bytes as one big-endian number, for 65,536 is 1 modulo 65,535: summing words one by one
    takes four times as long.
    """
    total, end = start, 0
    for part in parts:
        end += len(part)
        number = int.from_bytes(part)
        total += number << 8 if end & 1 else number
    return total


def _folded(total: int) -> int:
    """Return a sum as 16 bits: what is not 0 folds to 65,535 where it is a multiple of that."""
    return total and (total % 0xFFFF or 0xFFFF)
