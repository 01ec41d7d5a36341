"""SOCKS5's datagrams (RFC 1928 section 7): the header that stands before the payload, either way.

    RSV(2)  FRAG(1)  ATYP(1)  ADDR  PORT(2)  DATA

ADDR and PORT are where a client's datagram is to go, and where one for it came from. The reserved bytes are not looked
at. Fragments are dropped, as section 7 demands of a server that does not put them together.
"""

from __future__ import annotations

import ipaddress
from functools import lru_cache
from typing import NamedTuple

from relay.address import Endpoint
from relay.protocols._base import read_host

IPV4_HEADER_BYTES, IPV6_HEADER_BYTES = 10, 22
_FIXED_BYTES, _PORT_BYTES = 4, 2
_IPV4, _NAME, _IPV6 = 0x01, 0x03, 0x04
_ADDRESS_BYTES = {_IPV4: 4, _IPV6: 16}


class Header(NamedTuple):
    """What a client's datagram begins with."""

    destination: Endpoint
    size_bytes: int
    """How long it is; the payload is behind it."""


class Unreadable(ValueError):
    """A datagram that is dropped; the message says why, in the words of the event log."""


def read_header(datagram: bytes | memoryview) -> Header:
    """Read the header of a datagram.

    Raises:
        Unreadable: it is cut off, a fragment, or goes nowhere.
    """
    if len(datagram) <= _FIXED_BYTES:
        raise Unreadable("cut off")
    fragment, kind = datagram[2], datagram[3]
    if fragment:
        raise Unreadable("a fragment")
    if kind == _NAME:
        address_at, port_at = _FIXED_BYTES + 1, _FIXED_BYTES + 1 + datagram[_FIXED_BYTES]
    elif kind in _ADDRESS_BYTES:
        address_at, port_at = _FIXED_BYTES, _FIXED_BYTES + _ADDRESS_BYTES[kind]
    else:
        raise Unreadable("address type unknown")
    end = port_at + _PORT_BYTES
    if len(datagram) < end:
        raise Unreadable("cut off")
    return Header(_destination(bytes(datagram[3:end]), address_at - 3, port_at - 3), end)


@lru_cache(1024)
def header_from(source: Endpoint) -> bytes:
    """The header of a datagram that came from this address."""
    ip = ipaddress.ip_address(source.host.partition("%")[0])
    kind = _IPV4 if ip.version == 4 else _IPV6
    return bytes((0, 0, 0, kind)) + ip.packed + source.port.to_bytes(2)


@lru_cache(1024)
def _destination(raw: bytes, address_at: int, port_at: int) -> Endpoint:
    """Datagrams go to the same few destinations again and again; an address takes microseconds to spell."""
    address, port = raw[address_at:port_at], int.from_bytes(raw[port_at:])
    if not port:
        raise Unreadable("to port 0")
    if raw[0] != _NAME:
        return Endpoint(str(ipaddress.ip_address(address)), port)
    try:
        return Endpoint(read_host(address), port)
    except ValueError:
        raise Unreadable("to no name") from None
