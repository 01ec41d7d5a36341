"""TCP connections that were not captured, as packets: made of what is known of them, and of zeros.

A capture of the relay's own connections needs a privilege, and other programs' packets pass through it. What the relay
itself did with a socket, and saw of it, is enough for the packets that mark a connection's course. Sequence numbers
begin at 0 and count every byte, also those that are left out; windows, acknowledgements without data, segment borders
and retransmissions are the kernel's, and not known here.
"""

from __future__ import annotations

import ipaddress
import struct
from typing import TypeAlias

from relay.address import Endpoint
from relay.log.pcapng import Buffer

FIN, SYN, RST, PSH, ACK = 1, 2, 4, 8, 16
MOST_BYTES = 1460
"""That one segment has; of a longer run of bytes only the end is shown."""

_IPV4 = struct.Struct(">BBHHHBBH4s4s")
_IPV6 = struct.Struct(">IHBB16s16s")
_TCP = struct.Struct(">HHIIBBHHH")
_TTL, _WINDOW, _PROTOCOL = 64, 0xFFFF, 6
_DONT_FRAGMENT = 0x4000
_UNKNOWN = ipaddress.IPv4Address(0)
_Ip: TypeAlias = ipaddress.IPv4Address | ipaddress.IPv6Address


class RebuiltTcp:
    """One connection. `inner` is the end toward the app, `outer` the one toward the server."""

    def __init__(self, inner: Endpoint, outer: Endpoint) -> None:
        # By the direction that leads there: `outward` or not.
        self._ports = (inner.port, outer.port)
        self._addresses = _of_one_version(inner.ip or _UNKNOWN, outer.ip or _UNKNOWN)
        # By the direction that they have.
        self._next = [0, 0]
        self._began = [False, False]

    def segment(
        self,
        outward: bool,
        flags: int,
        payload: Buffer = b"",
        *,
        missing_bytes: int = 0,
        back_bytes: int = 0,
        tos: int = 0,
    ) -> tuple[list[Buffer], int]:
        """The next segment: the parts that are known, and how many bytes are missing at its end.

        `missing_bytes` were sent, and are not known; there is a `payload` or there are those. `back_bytes` before what
        is next in order it begins, as a keepalive probe does.
        """
        if self._began[not outward]:
            flags |= ACK
        skipped = max(0, missing_bytes - MOST_BYTES)
        seq = self._next[outward] + skipped - back_bytes
        shown_missing = missing_bytes - skipped
        header = _TCP.pack(
            self._ports[not outward],
            self._ports[outward],
            seq & 0xFFFFFFFF,
            self._next[not outward] & 0xFFFFFFFF if flags & ACK else 0,
            _TCP.size << 2,
            flags,
            _WINDOW,
            0,
            0,
        )
        source, destination = self._addresses[not outward], self._addresses[outward]
        length = len(header) + len(payload) + shown_missing
        if not shown_missing:
            pseudo = source.packed + destination.packed + struct.pack(">II", length, _PROTOCOL)
            header = header[:16] + _checksum(pseudo + header + bytes(payload)) + header[18:]
        self._began[outward] = True
        self._next[outward] += missing_bytes + len(payload) + (flags & SYN > 0) + (flags & FIN > 0)
        return [_ip_header(source, destination, length, tos), header, payload], shown_missing


def _of_one_version(one: _Ip, other: _Ip) -> tuple[_Ip, _Ip]:
    """Both as they are, or both as IPv6: where one is, IPv4 is mapped into it (RFC 4291 section 2.5.5.2)."""
    if one.version == other.version:
        return one, other
    return _as_ipv6(one), _as_ipv6(other)


def _as_ipv6(ip: _Ip) -> _Ip:
    return ip if ip.version == 6 else ipaddress.IPv6Address(b"\0" * 10 + b"\xff\xff" + ip.packed)


def _ip_header(source: _Ip, destination: _Ip, length: int, tos: int) -> bytes:
    if source.version == 6:
        return _IPV6.pack(6 << 28 | tos << 20, length, _PROTOCOL, _TTL, source.packed, destination.packed)
    total = _IPV4.size + length
    fields = (0x45, tos, total, 0, _DONT_FRAGMENT, _TTL, _PROTOCOL, 0, source.packed, destination.packed)
    header = _IPV4.pack(*fields)
    return header[:10] + _checksum(header) + header[12:]


def _checksum(data: bytes) -> bytes:
    """RFC 1071: the complement of the sum of 16-bit words."""
    return (0xFFFF - int.from_bytes(data + bytes(len(data) % 2)) % 0xFFFF).to_bytes(2)
