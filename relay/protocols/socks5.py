"""SOCKS5, server side (RFC 1928, and RFC 1929 for username and password).

    GREETING --method--> [AUTH --> ] REQUEST --connect, bind, ...--> AWAIT_REPLY --grant/refuse--> DONE

With credentials set, username and password is the only method taken. Without, "no authentication" is preferred, and a
client that offers nothing but username and password is let in whatever they are: many offer only that once they were
given a user. Each connection is judged by itself; nothing is remembered from one to the next.

CONNECT is served, and BIND and UDP ASSOCIATE (`relay.protocols.socks5_udp` has the datagrams); and Tor's RESOLVE and
RESOLVE_PTR, by which torsocks looks names up ("Tor's extensions to the SOCKS protocol", section 2): the request's port
means nothing, and the reply has the answer in place of the bound address. A request that is refused was read to its end
first, so that closing after the reply does not reset it away; one whose address type is unknown has no end.
"""

from __future__ import annotations

import ipaddress

from relay.address import Endpoint
from relay.errors import ProtocolError
from relay.events import DialFailure, FailureKind
from relay.protocols._base import (
    NEED_DATA,
    Associate,
    Bind,
    BufferedHandshake,
    Connect,
    Credentials,
    NeedData,
    Question,
    Resolve,
    Send,
    read_host,
)

_NO_AUTHENTICATION, _USERNAME_PASSWORD, _NO_ACCEPTABLE_METHOD = 0x00, 0x02, 0xFF  # RFC 1928 section 3
_AUTH_VERSION = 0x01  # RFC 1929 section 2
_CONNECT, _BIND, _ASSOCIATE, _RESOLVE, _RESOLVE_PTR = 0x01, 0x02, 0x03, 0xF0, 0xF1
_COMMANDS = {
    _CONNECT: "CONNECT",
    _BIND: "BIND",
    _ASSOCIATE: "UDP ASSOCIATE",
    _RESOLVE: "RESOLVE",
    _RESOLVE_PTR: "RESOLVE_PTR",
}
_IPV4, _NAME, _IPV6 = 0x01, 0x03, 0x04
_ADDRESS_BYTES = {_IPV4: 4, _IPV6: 16}
_SUCCEEDED, _GENERAL_FAILURE, _COMMAND_NOT_SUPPORTED, _ADDRESS_TYPE_NOT_SUPPORTED = 0x00, 0x01, 0x07, 0x08
_REPLY_TO = {  # RFC 1928 section 6
    FailureKind.REFUSED: 0x05,
    FailureKind.NETWORK_UNREACHABLE: 0x03,
    FailureKind.HOST_UNREACHABLE: 0x04,
    FailureKind.TIMED_OUT: 0x06,  # "TTL expired", which clients show as a timeout
    FailureKind.NOT_RESOLVED: 0x04,
    FailureKind.DENIED: 0x02,
    FailureKind.EXHAUSTED: _GENERAL_FAILURE,
    FailureKind.OTHER: _GENERAL_FAILURE,
}


class Socks5Handshake(BufferedHandshake):
    """One client's SOCKS5 negotiation and request."""

    def __init__(self, credentials: Credentials | None) -> None:
        super().__init__(Socks5Handshake._read_greeting)
        self.name = "socks5"
        self._credentials = credentials

    def grant(self, bound: Endpoint | None) -> bytes:
        return _reply(_SUCCEEDED, bound)

    def refuse(self, failure: DialFailure) -> bytes:
        return _reply(_REPLY_TO[failure.kind])

    def _read_greeting(self) -> Send | NeedData:
        if len(self._buffer) < 2 or len(self._buffer) < 2 + self._buffer[1]:
            return NEED_DATA
        offered = self._take(2 + self._buffer[1])[2:]
        if self._credentials is None and _NO_AUTHENTICATION in offered:
            self._read = Socks5Handshake._read_request
            return Send(bytes((5, _NO_AUTHENTICATION)))
        if _USERNAME_PASSWORD in offered:
            self._read = Socks5Handshake._read_auth
            return Send(bytes((5, _USERNAME_PASSWORD)))
        wanted = "username and password (2)" if self._credentials is not None else "no authentication (0)"
        raise ProtocolError(
            f"socks5: the client offers the methods {list(offered)}, not {wanted}",
            reply=bytes((5, _NO_ACCEPTABLE_METHOD)),
        )

    def _read_auth(self) -> Send | NeedData:
        # VER  ULEN  UNAME  PLEN  PASSWD
        if len(self._buffer) < 2:
            return NEED_DATA
        if self._buffer[0] != _AUTH_VERSION:
            raise _unauthorised(f"version {self._buffer[0]} of the username and password method, not 1")
        plen_at = 2 + self._buffer[1]
        if len(self._buffer) <= plen_at or len(self._buffer) <= plen_at + self._buffer[plen_at]:
            return NEED_DATA
        message = self._take(plen_at + 1 + self._buffer[plen_at])
        if self._credentials is not None and not self._credentials.match(message[2:plen_at], message[plen_at + 1 :]):
            raise _unauthorised("wrong username or password")
        self._read = Socks5Handshake._read_request
        return Send(bytes((_AUTH_VERSION, 0)))

    def _read_request(self) -> Connect | Question | NeedData:
        # VER  CMD  RSV  ATYP  DST.ADDR  DST.PORT
        if len(self._buffer) < 5:  # the fifth byte is a name's length; no address is shorter
            return NEED_DATA
        version, command, _, kind, length = self._buffer[:5]
        if version != 5:
            raise _refused(f"a request of version {version}")
        if kind == _NAME:
            address_at, port_at = 5, 5 + length
        elif kind in _ADDRESS_BYTES:
            address_at, port_at = 4, 4 + _ADDRESS_BYTES[kind]
        else:
            raise _refused(f"address type {kind} is unknown", _ADDRESS_TYPE_NOT_SUPPORTED)
        if len(self._buffer) < port_at + 2:
            return NEED_DATA
        request = self._take(port_at + 2)
        if command not in _COMMANDS:
            served = ", ".join(f"{name} ({code})" for code, name in _COMMANDS.items())
            raise _refused(f"command {command} is not served, only {served}", _COMMAND_NOT_SUPPORTED)
        destination = Endpoint(_host(kind, request[address_at:port_at]), int.from_bytes(request[port_at:]))
        if command != _CONNECT:
            return _question(command, destination)
        if destination.port == 0:
            raise _refused("nothing can listen on port 0")
        return Connect(destination)


def _question(command: int, destination: Endpoint) -> Question:
    if command == _ASSOCIATE:
        return Associate(destination.port)
    if command == _BIND:
        return Bind(destination, others_end_it=False)
    reverse = command == _RESOLVE_PTR
    if reverse and destination.ip is None:
        raise _refused("RESOLVE_PTR wants an address, not a name", _ADDRESS_TYPE_NOT_SUPPORTED)
    return Resolve(destination.host, reverse)


def _host(kind: int, raw: bytes) -> str:
    if kind != _NAME:
        return ".".join(map(str, raw)) if kind == _IPV4 else str(ipaddress.ip_address(raw))
    try:
        return read_host(raw)
    except ValueError as error:
        raise _refused(str(error)) from None


def _unauthorised(why: str) -> ProtocolError:
    return ProtocolError(f"socks5: {why}", reply=bytes((_AUTH_VERSION, 1)))


def _refused(why: str, code: int = _GENERAL_FAILURE) -> ProtocolError:
    return ProtocolError(f"socks5: {why}", reply=_reply(code))


def _reply(code: int, bound: Endpoint | None = None) -> bytes:
    if bound is None:
        return bytes((5, code, 0, _IPV4)) + bytes(6)
    if bound.ip is None:
        address = bytes((_NAME, len(bound.host))) + bound.host.encode("ascii")
    else:
        address = bytes((_IPV4 if bound.ip.version == 4 else _IPV6,)) + bound.ip.packed
    return bytes((5, code, 0)) + address + bound.port.to_bytes(2)
