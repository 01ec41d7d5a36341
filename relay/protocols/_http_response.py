"""One request's response: an origin's bytes become the client's.

h11 reads each head. What the origin leaves open the client gets framed, for a body that ends with the origin's
connection must not end the client's: in chunks, or up to the client's own FIN where it speaks HTTP/1.0.
"""

from __future__ import annotations

import h11

from relay.protocols._http_body import Body, UntilCloseBody, response_body
from relay.protocols._http_fields import HeadFields
from relay.protocols._http_head import SectionEnd, head_cost
from relay.protocols._http_parse import ResponseHead, parse_response
from relay.protocols._http_request import ProxyRequest
from relay.protocols._http_write import CHUNKED, CLOSE, KEEP_ALIVE, chunk_bytes, head_bytes, last_chunk_bytes

_BYTES_WORTH_A_CHUNK = 4  # of a head's lines, when they are long and of many words


class Response:
    """What has come of the response to one request."""

    __slots__ = (
        "_body",
        "_end_of_head",
        "_fields",
        "_in_chunks",
        "_request",
        "awaited",
        "keeps_client",
        "keeps_origin",
        "started",
        "switched",
    )

    def __init__(self, request: ProxyRequest) -> None:
        self._request = request
        self._end_of_head = SectionEnd()
        self._fields: HeadFields
        self._body: Body | None = None
        self._in_chunks = False
        self.awaited = True
        """Whether any of it is to come still."""
        self.started = False
        """Whether the client has got the final head, or 101."""
        self.switched = False
        """Whether it was 101: what follows, either way, is no HTTP."""
        self.keeps_client = request.fields.keep(request.head.http_version)
        """Whether the client may send another request after it."""
        self.keeps_origin = True
        """Whether the origin may be sent another request after it."""

    def read(self, buffer: bytearray, most_chunks: int, *, owes_body: bool) -> tuple[bytes, int] | None:
        """Take one head, or what there is of the body, `most_chunks` at most.

        Returns the bytes for the client and what that has cost, in chunks; None if more must come first.
        With `owes_body` the client has not sent all of the request's body yet.

        Raises:
            h11.ProtocolError, MalformedBody, TooLarge: it is no valid response.
        """
        return self._read_body(buffer, most_chunks) if self.started else self._read_head(buffer, owes_body=owes_body)

    def end(self) -> bytes | None:
        """The origin's connection has ended: the rest for the client, or None if the response is incomplete."""
        if not isinstance(self._body, UntilCloseBody):
            return None
        self.awaited = False
        return last_chunk_bytes(()) if self._in_chunks else b""

    def _read_head(self, buffer: bytearray, *, owes_body: bool) -> tuple[bytes, int] | None:
        if buffer and buffer[0] <= 0x20:
            raise h11.RemoteProtocolError("illegal status line")  # and may never become a head
        end = self._end_of_head.find(buffer)
        if not end:
            return None
        head = parse_response(bytes(buffer[:end]), offered=self._request.is_1_1 and bool(self._request.fields.upgrade))
        del buffer[:end]
        fields = HeadFields(head.headers.raw_items())
        if head.status_code >= 200:
            out = self._final(head, fields, owes_body=owes_body)
        elif self._request.is_1_1:
            out = self._interim(head, fields)
        else:
            out = b""  # RFC 9110 section 15.2: HTTP/1.0 has none
        return out, head_cost(head) + end // _BYTES_WORTH_A_CHUNK

    def _interim(self, head: ResponseHead, fields: HeadFields) -> bytes:
        passed_on = fields.passed_on
        if head.status_code == 101:
            self.awaited, self.started, self.switched = False, True, True
            passed_on = passed_on + fields.upgrade
        return head_bytes(_status_line(head), passed_on)

    def _final(self, head: ResponseHead, fields: HeadFields, *, owes_body: bool) -> bytes:
        request, method = self._request, self._request.head.method
        self._fields, self.started = fields, True
        self._body = response_body(fields, head.status_code, method)
        self.awaited = not self._body.complete
        passed_on = fields.passed_on
        if fields.chunked and fields.length is not None:  # RFC 9112 section 6.3: the chunks count
            passed_on = [field for field in passed_on if field[0].lower() != b"content-length"]
        if (fields.chunked or fields.length is None) and head.status_code not in (204, 304):
            if request.is_1_1:
                passed_on.append(CHUNKED)  # the answer to a HEAD says so, too
                self._in_chunks = self.awaited
            elif self.awaited:
                self.keeps_client = False
        keeps = fields.keep(head.http_version)
        self.keeps_origin = keeps and not isinstance(self._body, UntilCloseBody)
        if owes_body and not keeps:
            # The rest of the body has nowhere to go, and the client should know that it need not send it.
            self.keeps_client = False
        if not self.keeps_client:
            passed_on.append(CLOSE)
        elif not request.is_1_1:
            passed_on.append(KEEP_ALIVE)
        return head_bytes(_status_line(head), passed_on)

    def _read_body(self, buffer: bytearray, most_chunks: int) -> tuple[bytes, int] | None:
        body = self._body
        assert body is not None  # noqa: S101 - its head has come
        data, chunks = body.read(buffer, most_chunks)
        out = chunk_bytes(data) if data and self._in_chunks else data
        if body.complete:
            self.awaited = False
            if self._in_chunks:
                out += last_chunk_bytes(self._fields.trailers_passed_on(body.trailers))
        elif not data:
            return None
        return out, chunks


def _status_line(head: ResponseHead) -> bytes:
    return b"HTTP/1.1 %d %b" % (head.status_code, head.reason)
