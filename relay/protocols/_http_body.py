"""The body of an HTTP message, taken out of its framing as it comes (RFC 9112 sections 6.3 and 7.1).

    LengthBody      so many bytes
    ChunkedBody     chunks, each after its length, then a trailer section
    UntilCloseBody  all that comes before the FIN

A body takes from the front of a buffer and leaves what is behind it. h11 has a reader for each as well, but makes an
event of every chunk, which costs 10 us for a single byte; here a call joins the chunks that it takes, at 1 us each.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import TypeAlias

import h11

from relay.protocols._http_fields import HeadFields
from relay.protocols._http_head import SectionEnd, TooLarge, parse_trailers
from relay.protocols._http_parse import fault_of

MAX_CHUNK_LINE_BYTES = 4096  # the length, and extensions, which the relay ignores

_CHUNK_LINE = re.compile(rb"([0-9A-Fa-f]{1,20})(?:;[^\n]*|[ \t]*)")  # as h11 takes it, in linear time
_AT_ONCE_BYTES = 64 * 1024


class MalformedBody(Exception):
    """A body breaks its framing; the message says how, for a person."""


class LengthBody:
    """A body of a length that its head gives."""

    __slots__ = ("_left",)

    trailers: Sequence[tuple[bytes, bytes]] = ()

    def __init__(self, length: int) -> None:
        self._left = length

    @property
    def complete(self) -> bool:
        return self._left == 0

    def read(self, buffer: bytearray, most_chunks: int) -> tuple[bytes, int]:
        """See `ChunkedBody.read`."""
        data = _take(buffer, min(self._left, len(buffer)))
        self._left -= len(data)
        return data, 1


class UntilCloseBody:
    """A body that lasts until its sender ends the connection; `complete` stays False until then."""

    __slots__ = ()

    complete = False
    trailers: Sequence[tuple[bytes, bytes]] = ()

    @staticmethod
    def read(buffer: bytearray, most_chunks: int) -> tuple[bytes, int]:
        """See `ChunkedBody.read`."""
        return _take(buffer, len(buffer)), 1


class ChunkedBody:
    """A body in chunks.

    LINE --length--> DATA --all of it--> CRLF --> LINE
         --0-------> TRAILERS --blank line--> complete
    """

    __slots__ = ("_end_of_trailers", "_in_trailers", "_left", "_owes_crlf", "complete", "trailers")

    def __init__(self) -> None:
        self._left = 0
        self._owes_crlf = False
        self._in_trailers = False
        self._end_of_trailers = SectionEnd()
        self.complete = False
        self.trailers: Sequence[tuple[bytes, bytes]] = ()
        """The fields of the trailer section, once it is complete."""

    def read(self, buffer: bytearray, most_chunks: int) -> tuple[bytes, int]:
        """Take what has come of the body, `most_chunks` at most: the bytes in it, and how many chunks began.

        What follows a fault is not touched: the bytes before it come first, the error with the next call.

        Raises:
            MalformedBody: it is no chunked body.
        """
        if self._in_trailers:
            return b"", self._read_trailers(buffer)
        with memoryview(buffer) as view:
            window = bytes(view[:_AT_ONCE_BYTES])
        pieces, at, chunks, fault = [], 0, 0, ""
        while True:
            if self._left:
                piece = window[at : at + self._left]
                if not piece:
                    break
                pieces.append(piece)
                at += len(piece)
                self._left -= len(piece)
                self._owes_crlf = not self._left
            elif self._owes_crlf:
                end = window[at : at + 2]
                if end != b"\r\n":
                    fault = "" if end in (b"", b"\r") else "a chunk is longer than its length"
                    break
                at += 2
                self._owes_crlf = False
            elif chunks >= most_chunks:
                break
            else:
                line_end = window.find(b"\r\n", at, at + MAX_CHUNK_LINE_BYTES)
                if line_end < 0:
                    fault = "" if len(window) - at < MAX_CHUNK_LINE_BYTES else "a chunk header is too long"
                    break
                line = _CHUNK_LINE.fullmatch(window, at, line_end)
                if line is None:
                    fault = "illegal chunk header"
                    break
                chunks += 1
                self._left = int(line[1], 16)
                if not self._left:
                    at = line_end  # the end of this line is the first of the trailer section: it may be all of it
                    self._in_trailers = True
                    break
                at = line_end + 2
        del buffer[:at]
        if fault and not pieces:
            raise MalformedBody(fault)
        if self._in_trailers and not pieces:
            chunks += self._read_trailers(buffer)
        return b"".join(pieces), chunks

    def _read_trailers(self, buffer: bytearray) -> int:
        """Take the trailer section if it is whole; how many lines it has."""
        try:
            section = _take(buffer, self._end_of_trailers.find(buffer))
        except TooLarge as error:
            raise MalformedBody(str(error)) from None
        if section:
            try:
                self.trailers = parse_trailers(section)
            except h11.RemoteProtocolError as error:
                raise MalformedBody(fault_of(error)) from None
            self.complete = True
        return section.count(b"\n")


Body: TypeAlias = LengthBody | ChunkedBody | UntilCloseBody


def request_body(fields: HeadFields) -> Body:
    """The body that follows a request's head with these fields."""
    return ChunkedBody() if fields.chunked else LengthBody(fields.length or 0)


def response_body(fields: HeadFields, status: int, method: bytes) -> Body:
    """The body that follows a response's head, in answer to a request with this method."""
    if method == b"HEAD" or status in (204, 304):
        return LengthBody(0)
    if fields.chunked:  # it counts before a length
        return ChunkedBody()
    return UntilCloseBody() if fields.length is None else LengthBody(fields.length)


def _take(buffer: bytearray, count: int) -> bytes:
    if count == len(buffer):
        taken = bytes(buffer)
        buffer.clear()
        return taken
    with memoryview(buffer) as view:
        taken = bytes(view[:count])
    del buffer[:count]
    return taken
