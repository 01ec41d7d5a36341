"""Plain http:// forwarding: a client's requests in absolute form become an origin's requests, and back.

    client --from_client--> RequestReader, request_body --> origin
    client <------------------------------------ Response <--from_origin-- origin

h11 reads each head, once, with a connection of its own; bodies are read by `_http_body`, everything is written by
`_http_write`.

One request at a time, each in three stages:

    CONNECTING   its head is read, `next_destination` is set; what follows is kept    --start-->
    EXCHANGING   request body and response pass, each as it comes and at its own pace  --both complete-->
    IDLE         nothing pending; the next head is read                                --same origin--> EXCHANGING
                                                                                       --another----> CONNECTING

How a driver uses it: call `from_client` with what the client sent, and with b"" after each `from_origin` and
`origin_eof` that returned (a pipelined request may be waiting). While `next_destination` is set, connect there, drop
the connection to the origin before, and call `start`. Stop reading the client while `paused`. FIN the client when
`wants_close`, the origin when `origin_done`. After a `ProtocolError` write its reply, if any, and close both.

A call parses a limited amount, so that other flows have their turn. `behind_client` and `behind_origin` say that it has
left something: then call `from_client` or `from_origin` again with b"", soon, before anything else from that side.

A connection is kept, on either side, where its own ends want that (RFC 9112 section 9.3). A client of HTTP/1.0 that
says `Connection: keep-alive` is kept, too, though section 9.3 forbids proxies that: it may stand behind a proxy older
than HTTP/1.1, which has passed those words on and waits for our FIN. Squid and others keep it as well, and so does the
origin behind a NAT.

Only what RFC 9110 section 7.6.1 calls hop-by-hop is taken out or rewritten, the target becomes origin form and Host
follows from it. Nothing is added, neither Via nor X-Forwarded-For: a NAT is not seen. After `101` both directions pass
as they are. A request is never sent twice.
"""

from __future__ import annotations

import h11

from relay.address import Endpoint
from relay.errors import ProtocolError
from relay.events import DialFailure
from relay.protocols._base import NEED_DATA
from relay.protocols._http_body import MalformedBody, request_body
from relay.protocols._http_head import MAX_HEADER_BYTES, TooLarge, head_cost
from relay.protocols._http_parse import fault_of
from relay.protocols._http_reply import refusal, reply
from relay.protocols._http_request import ProxyRequest, RequestReader, bad_request
from relay.protocols._http_response import Response
from relay.protocols._http_write import CHUNKED, CLOSE, chunk_bytes, head_bytes, last_chunk_bytes

_WORK = 512
"""How much one call parses at most before others have their turn, in chunks: some 0.6 ms. A chunk costs 1 us."""


class HttpExchange:
    """One client connection of plain http, and the origins it asks for one after another."""

    def __init__(self, reader: RequestReader, first: ProxyRequest) -> None:
        self._reader = reader
        self._from_origin = bytearray()
        self._origin_usable = False
        self._connected_to: Endpoint | None = None
        self._client_ended = False
        self._finished = False
        self._work_left = 0
        self.behind_client = False
        """Whether `from_client` has stopped before it was through with what there is."""
        self.behind_origin = False
        """Whether `from_origin` has."""
        self.next_destination: Endpoint | None = None
        """Where the pending request has to go, while no connection there is at hand; None once `start` was called."""
        self._begin(first)

    @property
    def response_started(self) -> bool:
        """Whether the response to the latest request has begun, so that `refuse` has nothing to send."""
        return self._response.started

    @property
    def wants_close(self) -> bool:
        """Whether the client has its whole answer, so that a FIN follows. It may still be sending a body."""
        response = self._response
        if response.switched:
            return not self._origin_usable
        return self._finished or not (response.awaited or response.keeps_client)

    @property
    def origin_done(self) -> bool:
        """Whether this origin will get nothing more from the client, which has sent its FIN: pass that on."""
        return self._client_ended and self.next_destination is None and not self._reader.buffer

    @property
    def paused(self) -> bool:
        """Whether the client is a whole head and more ahead of what can be passed on: read no more from it."""
        return self._pending and not self.behind_client and len(self._reader.buffer) > MAX_HEADER_BYTES

    @property
    def within_head(self) -> bool:
        """Whether a request's head has begun, and nothing but the rest of it is awaited."""
        idle = not (self._pending or self._finished or self.behind_client)
        return idle and bool(self._reader.buffer)

    def start(self) -> bytes:
        """The connection to `next_destination` is there: the bytes for it that there are."""
        self._from_origin.clear()
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
        self._work_left = _WORK
        out = bytearray()
        while self._can_read_client() and self._work_left > 0:
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
                self._work_left -= head_cost(request.head)
                self._begin(request)
                if self.next_destination is None:
                    out += self._head_bytes()
        self.behind_client = self._work_left <= 0 and self._can_read_client()
        if self._finished or (self._client_ended and not self._can_be_completed()):
            self._reader.buffer.clear()
        return bytes(out)

    def client_eof(self) -> bytes:
        """The client will send no more; what it has asked for is still answered. Returns the bytes for the origin."""
        self._client_ended = True
        return self.from_client(b"")

    def from_origin(self, data: bytes) -> bytes:
        """Take in what the origin sent; b"" to go on with what is left. Returns the bytes for the client.

        Raises:
            ProtocolError: it is no valid response. `reply` is what came before the fault, and a 502 if none had begun.
        """
        if self._response.switched:
            return data
        if self._awaits_response:
            self._from_origin += data
            return self._response_bytes()
        if data:
            # Unrequested: a 408 to an idle connection, or bytes beyond the response's length.
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
        rest = self._response.end()
        if rest is None:
            why = f"{self._connected_to} ended the connection before its response was complete"
            raise self._bad_gateway(why, error="http_response_incomplete")
        return rest

    @property
    def _awaits_response(self) -> bool:
        return self._response.awaited and self.next_destination is None

    def _can_read_client(self) -> bool:
        return not self._finished and self.next_destination is None

    def _can_be_completed(self) -> bool:
        """Whether the pending request has all of its body, or what is kept may be the rest of it."""
        return self._request_complete or self.behind_client or self.next_destination is not None

    def _begin(self, request: ProxyRequest) -> None:
        self._request = request
        self._request_body = request_body(request.fields)
        self._request_complete = self._request_body.complete
        self._response = Response(request)
        self._pending = True
        if not self._origin_usable or self._connected_to != request.destination:
            self.next_destination = request.destination

    def _settle(self) -> bool:
        """Whether the pending request is over; False while any of it or of its response is to come."""
        response = self._response
        if response.awaited or response.switched or not (self._request_complete or self._client_ended):
            return False
        self._pending = False
        self._finished = not response.keeps_client
        return True

    def _head_bytes(self) -> bytes:
        request, fields = self._request, self._request.fields
        headers = [(b"Host", request.host), *fields.passed_on]
        if fields.chunked:
            headers.append(CHUNKED)
        if request.is_1_1 and fields.upgrade:
            headers += fields.upgrade
        elif not self._response.keeps_client:
            headers.append(CLOSE)
        return head_bytes(b"%b %b HTTP/1.1" % (request.head.method, request.target), headers)

    def _body_bytes(self) -> bytes:
        """What is there of the pending request's body; after a switch of protocols, whatever is there."""
        buffer, body, fields = self._reader.buffer, self._request_body, self._request.fields
        out = bytearray()
        try:
            while not self._request_complete and self._work_left > 0:
                data, chunks = body.read(buffer, self._work_left)
                self._work_left -= chunks
                if data:
                    out += chunk_bytes(data) if fields.chunked else data
                if body.complete:
                    if fields.chunked:
                        out += last_chunk_bytes(fields.trailers_passed_on(body.trailers))
                    self._request_complete = True
                elif not data:
                    break
        except MalformedBody as error:
            fault = bad_request(f"in the request's body: {error}", method=self._request.head.method)
            raise ProtocolError(str(fault), reply=b"" if self.response_started else fault.reply) from None
        if self._response.switched and self._request_complete:
            out += buffer
            buffer.clear()
        return bytes(out)

    def _response_bytes(self) -> bytes:
        buffer, response = self._from_origin, self._response
        out = b""
        self._work_left = _WORK
        try:
            while response.awaited and self._work_left > 0:
                read = response.read(buffer, self._work_left, owes_body=not self._request_complete)
                if read is None:
                    break
                out += read[0]
                self._work_left -= read[1]
        except (h11.ProtocolError, MalformedBody, TooLarge) as error:
            fault = fault_of(error) if isinstance(error, h11.ProtocolError) else str(error)
            why = f"{self._connected_to} sent no valid response: {fault}"
            raise self._bad_gateway(why, error="http_protocol_error", before=out) from None
        self.behind_origin = self._work_left <= 0 and response.awaited
        if response.switched:
            out += buffer
            buffer.clear()
        elif not response.keeps_origin:
            self._origin_usable = False
        if buffer and not response.awaited:
            buffer.clear()  # no request asked for what is behind the response
            self._origin_usable = False
        return out

    def _bad_gateway(self, why: str, *, error: str, before: bytes = b"") -> ProtocolError:
        if not self.response_started:
            before += reply(502, why, error=error, method=self._request.head.method)
        return ProtocolError(f"http: {why}", reply=before)
