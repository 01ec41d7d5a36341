"""An HTTP proxy's handshake, server side (RFC 9110 section 9.3.6, RFC 9112 section 3.2).

    HEAD --CONNECT--------> AWAIT_REPLY --grant: 200------> tunnel
         --absolute form--> AWAIT_REPLY --grant: nothing--> `codec` carries the exchange

The first request's head decides which. Plain http is not a tunnel: grant sends nothing, for the origin's own response
shows the client that it is connected. From then on the codec translates. A refusal is a response with a reason.
"""

from __future__ import annotations

from relay.address import Endpoint
from relay.events import DialFailure
from relay.protocols._base import NEED_DATA, BufferedHandshake, Connect, Credentials, NeedData
from relay.protocols._http_reply import refusal
from relay.protocols._http_request import RequestReader
from relay.protocols.http_exchange import HttpExchange

_ESTABLISHED = b"HTTP/1.1 200 Connection established\r\n\r\n"


class HttpHandshake(BufferedHandshake):
    """One client's first request."""

    def __init__(self, credentials: Credentials | None) -> None:
        super().__init__(HttpHandshake._read_request)
        self.name = "http"
        self._reader = RequestReader(credentials, self._buffer)
        self._tunnel_to: Endpoint | None = None

    @property
    def trailing_data(self) -> bytes:
        return b"" if self.codec is not None else super().trailing_data

    def grant(self, bound: Endpoint | None) -> bytes:  # HTTP has no place for it
        return _ESTABLISHED if self.codec is None else b""

    def refuse(self, failure: DialFailure) -> bytes:
        if self.codec is not None:
            return self.codec.refuse(failure)
        assert self._tunnel_to is not None  # noqa: S101 - only a request can be refused
        return refusal(failure, self._tunnel_to, b"CONNECT")

    def _read_request(self) -> Connect | NeedData:
        request = self._reader.read_request()
        if request is NEED_DATA:
            return NEED_DATA
        if request.is_connect:
            self.name = "http-connect"
            self._tunnel_to = request.destination
        else:
            self.codec = HttpExchange(self._reader, request)
        return Connect(request.destination)
