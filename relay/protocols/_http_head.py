"""Where an HTTP header or trailer section ends, within limits, and what may be said of one that is wrong.

Each section is parsed by h11, once and whole. The limits hold before that, for h11 takes some 4 us for each field. The
search for the end goes on where it stopped, so a section that trickles in costs as much as one that comes in one piece.
"""

from __future__ import annotations

import re

import h11

from relay.protocols._http_parse import Head

MAX_HEADER_BYTES = 64 * 1024
MAX_FIELDS = 256  # Apache and Envoy take 100; these cost 1 ms

LINE_COST = 8
"""What a line of a head costs, in chunks of a body, at 1 us each: 8 us in the shortest heads, 2 in long ones."""

_END = re.compile(rb"\n\r?\n")  # as h11 sees it
_TRAILERS_FOLLOW = b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n0"


class TooLarge(Exception):
    """A section exceeds a limit; the message says which, for a person."""


class SectionEnd:
    """Finds the end of one section after another, each at the beginning of a growing buffer."""

    __slots__ = ("_searched",)

    def __init__(self) -> None:
        self._searched = 0

    def find(self, buffer: bytearray, line_end: int = 0) -> int:
        """Where the section ends; 0 while its end has not come.

        A line comes before its fields. It ends at `line_end`, if that is known.

        Raises:
            TooLarge: it has, or will have, more bytes or fields than are taken.
        """
        blank = _END.search(buffer, max(line_end, self._searched))
        end = len(buffer) if blank is None else blank.end()
        if end - line_end > MAX_HEADER_BYTES:
            raise TooLarge(f"the header fields are longer than {MAX_HEADER_BYTES} bytes")
        if blank is None:
            self._searched = max(0, end - 2)
            return 0
        self._searched = 0
        if buffer.count(b"\n", line_end, end) > MAX_FIELDS + 2:  # the first line's and the blank one's
            raise TooLarge(f"there are more than {MAX_FIELDS} header fields")
        return end


def head_cost(head: Head) -> int:
    """What parsing a head has cost, in chunks."""
    return LINE_COST * (2 + len(head.headers))


def parse_trailers(section: bytes) -> list[tuple[bytes, bytes]]:
    """The fields of a trailer section, from the end of the last chunk's line to the blank line.

    Raises:
        h11.RemoteProtocolError: they are no header fields.
    """
    reader = h11.Connection(h11.SERVER)
    reader.receive_data(_TRAILERS_FOLLOW + section)
    reader.next_event()
    end = reader.next_event()
    assert isinstance(end, h11.EndOfMessage)  # noqa: S101 - the section is whole
    return end.headers.raw_items() if end.headers else []
