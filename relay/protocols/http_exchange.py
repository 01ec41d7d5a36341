"""Plain http:// forwarding: a client's requests in absolute form become an origin's requests, and back.

    client --from_client--> h11 SERVER role | h11 CLIENT role --> origin
    client <--------------- h11 SERVER role | h11 CLIENT role <--from_origin-- origin

One request at a time, each in three stages:

    CONNECTING   its head is read, `next_destination` is set; what follows is kept    --start-->
    EXCHANGING   request body and response pass, each as it comes and at its own pace  --both complete-->
    IDLE         nothing pending; the next head is read                                --same origin--> EXCHANGING
                                                                                       --another----> CONNECTING

How a driver uses it: call `from_client` with what the client sent, and with b"" after each `from_origin` and
`origin_eof` that returned (a pipelined request may be waiting). While `next_destination` is set, connect there, drop
the connection to the origin before, and call `start`. Stop reading the client while `paused`. FIN the client when
`wants_close`, the origin when `origin_done`. After a `ProtocolError` write its reply, if any, and close both.

Only what RFC 9110 section 7.6.1 calls hop-by-hop is taken out or rewritten, the target becomes origin form and Host
follows from it. Nothing is added, neither Via nor X-Forwarded-For: a NAT is not seen. After `101` both directions pass
as they are. A request is never sent twice.
"""

from __future__ import annotations

from typing import TypeAlias

import h11

from relay.address import Endpoint
from relay.errors import ProtocolError
from relay.events import DialFailure
from relay.protocols._base import NEED_DATA
from relay.protocols._http_reply import refusal, reply
from relay.protocols._http_request import MAX_HEADER_BYTES, ProxyRequest, RequestReader, bad_request

_Head: TypeAlias = h11.Request | h11.InformationalResponse | h11.Response

_HOP_BY_HOP = frozenset(
    {
        b"connection",
        b"host",  # not of one hop, but written anew for the next
        b"keep-alive",
        b"proxy-authenticate",
        b"proxy-authorization",
        b"proxy-connection",
        b"te",
        b"transfer-encoding",
        b"upgrade",
    }
)
_FRAMING = frozenset({b"content-length"})  # a Connection header may not name it away: the body would have no end


class HttpExchange:
    """One client connection of plain http, and the origins it asks for one after another."""

    def __init__(self, reader: RequestReader, first: ProxyRequest) -> None:
        self._reader = reader
        self._origin = h11.Connection(h11.CLIENT)
        self._origin_usable = False
        self._connected_to: Endpoint | None = None
        self._client_ended = False
        self._finished = False
        self.next_destination: Endpoint | None = None
        """Where the pending request has to go, while no connection there is at hand; None once `start` was called."""
        self._begin(first)

    @property
    def response_started(self) -> bool:
        """Whether the response to the latest request has begun, so that `refuse` can say nothing any more."""
        return self._reader.connection.our_state is not h11.SEND_RESPONSE

    @property
    def wants_close(self) -> bool:
        """Whether the client has had all it will get: FIN it when the bytes are out. It may still be sending a body."""
        if self._switched:
            return not self._origin_usable
        return self._finished or self._reader.connection.our_state is h11.MUST_CLOSE

    @property
    def origin_done(self) -> bool:
        """Whether this origin will get nothing more from the client, which has sent its FIN: pass that on."""
        return self._client_ended and self.next_destination is None and not self._reader.buffer

    @property
    def paused(self) -> bool:
        """Whether the client is a whole head and more ahead of what can be passed on: read no more from it."""
        return self._pending and len(self._reader.buffer) > MAX_HEADER_BYTES

    def start(self) -> bytes:
        """The connection to `next_destination` is there: the bytes for it that there are."""
        self._origin = h11.Connection(h11.CLIENT, max_incomplete_event_size=MAX_HEADER_BYTES)
        self._origin_usable = True
        self._connected_to, self.next_destination = self.next_destination, None
        return self._head_bytes() + self.from_client(b"")

    def refuse(self, failure: DialFailure) -> bytes:
        """The response that says why the origin was not reached; nothing if a response has begun already."""
        if self._finished or self.response_started:
            return b""
        self._finished = True
        return refusal(failure, self._request.destination, self._request.head.method)

    def from_client(self, data: bytes) -> bytes:
        """Take in what the client sent; b"" to go on with what is kept. Returns the bytes for the origin.

        Raises:
            ProtocolError: the request cannot be read or is not authenticated; `reply` answers it if nothing did yet.
        """
        self._reader.buffer += data
        out = b""
        while not self._finished and self.next_destination is None:
            if self._pending:
                out += self._body_bytes()
                if not self._settle():
                    break
            else:
                request = self._reader.read_request()
                if request is NEED_DATA:
                    self._finished = self._client_ended
                    break
                if request.is_connect:
                    raise bad_request("a tunnel needs a connection of its own: CONNECT must be the first request")
                self._begin(request)
                if self.next_destination is None:
                    out += self._head_bytes()
        if self._finished:
            self._reader.buffer.clear()
        return out

    def client_eof(self) -> bytes:
        """The client will send no more; what it has asked for is still answered. Returns the bytes for the origin."""
        self._client_ended = True
        return self.from_client(b"")

    def from_origin(self, data: bytes) -> bytes:
        """Take in what the origin sent, not empty. Returns the bytes for the client.

        Raises:
            ProtocolError: it is no valid response. `reply` is what came before the fault, and a 502 if none had begun.
        """
        if self._switched:
            return data
        if self._awaits_response:
            self._origin.receive_data(data)
            return self._response_bytes()
        # Nobody asked: a 408 to an idle connection, or bytes beyond the response's length.
        self._origin_usable = False
        return b""

    def origin_eof(self) -> bytes:
        """The origin will send no more. Returns the bytes for the client: a body that lasts until then ends here.

        Raises:
            ProtocolError: the response is missing or incomplete; `reply` is a 502 if none had begun.
        """
        self._origin_usable = False
        if not self._awaits_response:
            return b""
        self._origin.receive_data(b"")
        return self._response_bytes(ended=True)

    @property
    def _switched(self) -> bool:
        return self._reader.connection.our_state is h11.SWITCHED_PROTOCOL

    @property
    def _awaits_response(self) -> bool:
        return self.next_destination is None and self._reader.connection.our_state in (h11.SEND_RESPONSE, h11.SEND_BODY)

    def _begin(self, request: ProxyRequest) -> None:
        self._request = request
        self._pending = True
        self._request_complete = False
        if (
            self._origin_usable
            and self._connected_to == request.destination
            and self._origin.our_state is self._origin.their_state is h11.DONE
            and self._origin.trailing_data == (b"", False)
        ):
            self._origin.start_next_cycle()
        else:
            self.next_destination = request.destination

    def _settle(self) -> bool:
        """Whether the pending request is over; False while any of it or of its response is to come."""
        state = self._reader.connection.our_state
        if state not in (h11.DONE, h11.MUST_CLOSE) or not (self._request_complete or self._client_ended):
            return False
        self._pending = False
        self._finished = state is h11.MUST_CLOSE
        return True

    def _head_bytes(self) -> bytes:
        head = self._request.head
        headers = [(b"Host", self._request.host), *_passed_on(head, upgrade=self._client_is_1_1)]
        if any(name == b"transfer-encoding" for name, _ in head.headers):
            headers.append((b"Transfer-Encoding", b"chunked"))  # the one coding that h11 takes
        return self._origin.send(h11.Request(method=head.method, target=self._request.target, headers=headers))

    def _body_bytes(self) -> bytes:
        """What is there of the pending request's body; after a switch of protocols, whatever is there."""
        buffer, client = self._reader.buffer, self._reader.connection
        out = bytearray()
        if not self._request_complete:
            if buffer:
                client.receive_data(bytes(buffer))
                buffer.clear()
            try:
                while isinstance(event := client.next_event(), h11.Data):
                    out += self._origin.send(h11.Data(data=event.data))
            except h11.RemoteProtocolError as error:
                fault = bad_request(f"in the request's body: {error}", method=self._request.head.method)
                raise ProtocolError(str(fault), reply=b"" if self.response_started else fault.reply) from None
            if isinstance(event, h11.EndOfMessage):
                out += self._origin.send(event)
                self._request_complete = True
                buffer += client.trailing_data[0]
        if self._switched:
            out += buffer
            buffer.clear()
        return bytes(out)

    def _response_bytes(self, *, ended: bool = False) -> bytes:
        client = self._reader.connection
        out = bytearray()
        try:
            while self._awaits_response:
                match self._origin.next_event():
                    case h11.InformationalResponse() as event:
                        out += self._informational_bytes(event)
                    case h11.Response() as event:
                        out += client.send(self._for_client(event))
                    case h11.Data(data=data):
                        out += client.send(h11.Data(data=data))
                    case h11.EndOfMessage() as event:
                        # Trailers need chunks, which an HTTP/1.0 client does not get.
                        out += client.send(event if self._client_is_1_1 else h11.EndOfMessage())
                    case _:
                        break
        except h11.RemoteProtocolError as error:
            raise self._bad_gateway(error, bytes(out), ended=ended) from None
        if self._switched:
            out += self._origin.trailing_data[0]
        return bytes(out)

    @property
    def _client_is_1_1(self) -> bool:
        return self._request.head.http_version >= b"1.1"

    def _informational_bytes(self, event: h11.InformationalResponse) -> bytes:
        if not self._client_is_1_1:
            return b""  # RFC 9110 section 15.2: HTTP/1.0 knows none
        return self._reader.connection.send(
            h11.InformationalResponse(
                status_code=event.status_code,
                reason=event.reason,
                headers=_passed_on(event, upgrade=event.status_code == 101),
            )
        )

    def _for_client(self, event: h11.Response) -> h11.Response:
        headers = _passed_on(event, upgrade=False)
        if any(name == b"transfer-encoding" for name, _ in event.headers):
            # RFC 9112 section 6.3: the chunks count. h11 frames the body anew, as the client's version allows.
            headers = [(name, value) for name, value in headers if name.lower() != b"content-length"]
        closes = event.http_version < b"1.1" or b"close" in _options(event)
        if closes and not self._request_complete:
            # The rest of the body has nowhere to go, and the client should know that it need not send it.
            headers.append((b"Connection", b"close"))
        return h11.Response(status_code=event.status_code, reason=event.reason, headers=headers)

    def _bad_gateway(self, error: h11.RemoteProtocolError, before: bytes, *, ended: bool) -> ProtocolError:
        if ended:
            why = f"{self._connected_to} ended the connection before its response was complete"
        else:
            why = f"{self._connected_to} sent no valid response: {error}"
        if not self.response_started:
            kind = "http_response_incomplete" if ended else "http_protocol_error"
            before += reply(502, why, error=kind, method=self._request.head.method)
        return ProtocolError(f"http: {why}", reply=before)


def _options(head: _Head) -> set[bytes]:
    """What the Connection header names, in lower case."""
    named = (value.lower().split(b",") for name, value in head.headers if name == b"connection")
    return {option.strip() for options in named for option in options}


def _passed_on(head: _Head, *, upgrade: bool) -> list[tuple[bytes, bytes]]:
    """The headers without those of one hop and Host; with `upgrade`, an offer or choice of another protocol stays."""
    options = _options(head)
    dropped = _HOP_BY_HOP | (options - _FRAMING)
    kept = [(name, value) for name, value in head.headers.raw_items() if name.lower() not in dropped]
    protocols = [value for name, value in head.headers if name == b"upgrade" and value]
    if upgrade and protocols and b"upgrade" in options:
        kept += [(b"Connection", b"Upgrade"), (b"Upgrade", b", ".join(protocols))]
    return kept
