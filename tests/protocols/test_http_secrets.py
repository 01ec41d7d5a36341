"""What plain http keeps to itself: credentials are quoted in no log and on no error page."""

from __future__ import annotations

import pytest

from relay.errors import ProtocolError
from relay.protocols import HttpHandshake
from support.exchanges import exchange

SECRET = "hunter2"
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


@pytest.mark.parametrize(
    ("request_text", "hint"),
    [
        ("GET http://ann:hunter2@a.test/ HTP/1.1\r\n", "a line that begins with 'GET' is not an HTTP request line"),
        ("Proxy-Authorization: Basic hunter2\r\n", "begins with 'Proxy-Authorization'"),
        ("http://ann:hunter2@a.test/\r\n", "begins with 'http'"),
        ("ann:hunter2@a.test\r\n", "a line is not an HTTP request line"),
        ("hunter2 GET http://a.test/\r\n", "a line is not an HTTP request line"),
        ("hunter2.metric 1\r\n", "a line is not an HTTP request line"),
        ("PASS hunter2\r\n", "begins with 'PASS'"),
        ("GET /\x7f hunter2\r\n", "begins with 'GET'"),
        (f"x{SECRET * 8}\r\n", "a line is not an HTTP request line"),
        ("GET http://a.test/ HTTP/1.0\r\nProxy-Authorization : Basic hunter2\r\n\r\n", "illegal header line"),
        ("GET http://a.test/ HTTP/1.0\r\nhunter2\r\n\r\n", "illegal header line"),
        ("GET http://a.test/\x01hunter2 HTTP/1.0\r\n\r\n", "illegal request line"),
        ("GET http://ann:hunter2@a.test:x/ HTTP/1.0\r\n\r\n", "the form is host:port"),
        ("GET http://ann:hunter2/@a.test/ HTTP/1.0\r\n\r\n", "the form is host:port"),
        ("GET ann:hunter2@a.test/ HTTP/1.0\r\n\r\n", "this is a proxy"),
        ("GET /login?password=hunter2 HTTP/1.0\r\n\r\n", "this is a proxy"),
        ("GET ftp://ann:hunter2@a.test/ HTTP/1.0\r\n\r\n", "only http://"),
        ("GET https://ann:hunter2@a.test/ HTTP/1.0\r\n\r\n", "CONNECT"),
        ("CONNECT ann:hunter2@a.test:443 HTTP/1.0\r\n\r\n", "the form is host:port"),
        ("CONNECT hunter2@a.test:443 HTTP/1.0\r\n\r\n", "the form is host:port"),
    ],
)
def test_a_request_that_is_refused_is_not_quoted(request_text: str, hint: str) -> None:
    data = request_text.encode()
    handshake, codec = HttpHandshake(None), exchange()
    handshake.receive_data(data)
    codec.from_origin(OK)
    for ask in (handshake.next_event, lambda: codec.from_client(data)):
        with pytest.raises(ProtocolError) as caught:
            ask()
        for told in (str(caught.value), caught.value.reply.decode()):
            assert hint in told
            assert SECRET not in told


@pytest.mark.parametrize(
    "response",
    [
        b"HTTP/1.1 200 OK\r\nSet-Cookie : hunter2\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nhunter2\r\n\r\n",
        b"hunter2\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nhunter2\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nhunter2\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\nhunter2\r\n\r\n",
    ],
)
def test_nor_is_a_response(response: bytes) -> None:
    with pytest.raises(ProtocolError, match=r"a\.test:80 sent no valid response: \S") as caught:
        exchange().from_origin(response)
    assert SECRET not in str(caught.value)
    assert SECRET.encode() not in caught.value.reply
