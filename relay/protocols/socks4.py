"""SOCKS4 and SOCKS4a, server side (Ying-Da Lee's two memos; there is no RFC).

    REQUEST --connect, bind--> AWAIT_REPLY --grant/refuse--> DONE; a bind is granted twice

    VN=4  CD  DSTPORT(2)  DSTIP(4)  USERID NUL             SOCKS4
    VN=4  CD  DSTPORT(2)  0.0.0.x   USERID NUL  NAME NUL   SOCKS4a: x is not 0, the relay resolves the name

CD is CONNECT or BIND. BIND names the one host that may connect; a connection from another is refused, and that is the
end of it. The user id is all the authentication there is: with credentials set it must be their username,
and their password is never asked for. Every reply is eight bytes, and every refusal but that of the user says the same.
"""

from __future__ import annotations

import ipaddress

from relay.address import Endpoint
from relay.errors import ProtocolError
from relay.events import DialFailure
from relay.protocols._base import (
    MAX_NAME_BYTES,
    NEED_DATA,
    Bind,
    BufferedHandshake,
    Connect,
    Credentials,
    NeedData,
    read_host,
)

_CONNECT, _BIND = 0x01, 0x02
_HEADER_BYTES = 8
_GRANTED, _REJECTED, _WRONG_USER = 0x5A, 0x5B, 0x5D


class Socks4Handshake(BufferedHandshake):
    """One client's SOCKS4 or SOCKS4a request."""

    def __init__(self, credentials: Credentials | None) -> None:
        super().__init__(Socks4Handshake._read_request)
        self.name = "socks4"
        self._credentials = credentials

    def grant(self, bound: Endpoint | None) -> bytes:
        """The relay's IPv4 address, or zeros: the reply has no room for IPv6."""
        return _reply(_GRANTED, bound)

    def refuse(self, failure: DialFailure) -> bytes:  # one code for all of them
        return _reply(_REJECTED)

    def _read_request(self) -> Connect | Bind | NeedData:
        if len(self._buffer) < _HEADER_BYTES:
            return NEED_DATA
        user_end = self._string_end(_HEADER_BYTES, "user id")
        if user_end is None:
            return NEED_DATA
        address = ipaddress.IPv4Address(bytes(self._buffer[4:8]))
        request_end, name = user_end, None
        if 0 < int(address) <= 0xFF:
            name_end = self._string_end(user_end, "name")
            if name_end is None:
                return NEED_DATA
            request_end, name = name_end, bytes(self._buffer[user_end : name_end - 1])
            self.name = "socks4a"
        request = self._take(request_end)
        destination = self._destination(request, request[_HEADER_BYTES : user_end - 1], address, name)
        return Connect(destination) if request[1] == _CONNECT else Bind(destination, others_end_it=True)

    def _string_end(self, start: int, what: str) -> int | None:
        """Where the string that begins at `start` ends, its NUL included; None as long as that has not come."""
        nul = self._buffer.find(0, start, start + MAX_NAME_BYTES + 1)
        if nul < 0 and len(self._buffer) > start + MAX_NAME_BYTES:
            raise self._rejected(f"the {what} is longer than {MAX_NAME_BYTES} bytes")
        return nul + 1 if nul >= 0 else None

    def _destination(self, request: bytes, user: bytes, address: ipaddress.IPv4Address, name: bytes | None) -> Endpoint:
        if self._credentials is not None and not self._credentials.match_username(user):
            raise self._rejected("wrong user id", _WRONG_USER)
        if request[1] not in {_CONNECT, _BIND}:
            raise self._rejected(f"command {request[1]} is not served, only CONNECT (1) and BIND (2)")
        port = int.from_bytes(request[2:4])
        if port == 0 and request[1] == _CONNECT:
            raise self._rejected("nothing can listen on port 0")
        try:
            return Endpoint(str(address) if name is None else read_host(name), port)
        except ValueError as error:
            raise self._rejected(str(error)) from None

    def _rejected(self, why: str, code: int = _REJECTED) -> ProtocolError:
        return ProtocolError(f"{self.name}: {why}", reply=_reply(code))


def _reply(code: int, bound: Endpoint | None = None) -> bytes:
    if bound is not None and isinstance(bound.ip, ipaddress.IPv4Address):
        return bytes((0, code)) + bound.port.to_bytes(2) + bound.ip.packed
    return bytes((0, code)) + bytes(6)
