"""What is written without another look: nothing that h11 takes for a head could end a line, or begin another, there."""

from __future__ import annotations

import re

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from relay.errors import ProtocolError
from relay.protocols import HttpHandshake
from support.exchanges import exchange

_FIRST_LINE = re.compile(rb"[^\s\0]+ [^\s\0]+ HTTP/1\.1|HTTP/1\.1 [0-9]{3} [^\r\n\0]*|0")
_FIELD = re.compile(rb"[-!#$%&'*+.^_`|~0-9a-zA-Z]+: (?:[^\s\0](?:[^\r\n\0]*[^\s\0])?)?")
_POST = b"POST http://a.test/ HTTP/1.1\r\nHost: a.test\r\nTransfer-Encoding: chunked\r\n\r\n"


def request(head: bytes) -> bytes:
    handshake = HttpHandshake(None)
    handshake.receive_data(head)
    handshake.next_event()
    return handshake.codec.start() if handshake.codec is not None else b""


def response(heads: bytes) -> bytes:
    return exchange().from_origin(heads)


def trailers(section: bytes) -> bytes:
    return exchange(_POST).from_client(b"0\r\n" + section)


STREAMS = {
    request: b"GET http://a.test/path HTTP/1.1\r\nHost: a.test\r\nX: y z\r\nConnection: upgrade\r\nUpgrade: w\r\n\r\n",
    response: b"HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\nHTTP/1.1 204 All right\r\nX: y z\r\n\r\n",
    trailers: b"X-Sum: 1 2\r\n\r\n",
}


@pytest.mark.parametrize("passed_on", STREAMS, ids=lambda passed_on: passed_on.__name__)
@given(st.integers(0, 100), st.text("\r\n\0\x0b\x0c\x85 :aZ\t", max_size=6))
@example(STREAMS[request].index(b"path"), "\nZ: a")
@example(STREAMS[response].index(b"right"), "\rZ: a")
@example(STREAMS[trailers].index(b"2"), "\rZ: a")
def test_bytes_put_in_anywhere_make_no_line_that_is_no_field(passed_on: object, at: int, evil: str) -> None:
    assert callable(passed_on)
    stream = STREAMS[passed_on]
    try:
        written = passed_on(stream[:at] + evil.encode("latin-1") + stream[at:])
    except ProtocolError:
        return
    for section in filter(None, written.split(b"\r\n\r\n")):
        first, *fields = section.split(b"\r\n")
        assert _FIRST_LINE.fullmatch(first), written
        assert all(_FIELD.fullmatch(field) for field in fields), written
