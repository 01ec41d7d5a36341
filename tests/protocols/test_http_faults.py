"""Plain http forwarding: who may, and what goes wrong."""

from __future__ import annotations

import pytest

from relay.errors import ProtocolError
from support.exchanges import ALICE, BASIC, GET, GET_B, GET_SENT, OK, REFUSED, Session


def test_every_request_is_authenticated() -> None:
    right = GET[:-2] + BASIC + b"\r\n"
    session = Session(right, credentials=ALICE).from_origin(OK).from_client(right).from_origin(OK)
    assert session.sent == GET_SENT * 2
    with pytest.raises(ProtocolError) as caught:
        session.from_client(GET)
    assert caught.value.reply.startswith(b"HTTP/1.1 407 ")
    assert session.sent == GET_SENT * 2


@pytest.mark.parametrize(
    "request_bytes", [b"CONNECT a.test:443 HTTP/1.0\r\n\r\n", b"GET / HTTP/1.0\r\n\r\n", b"\x05\n"]
)
def test_a_later_request_that_cannot_be_served_is_answered(request_bytes: bytes) -> None:
    session = Session(GET).from_origin(OK)
    with pytest.raises(ProtocolError) as caught:
        session.from_client(request_bytes)
    assert caught.value.reply.startswith(b"HTTP/1.1 400 ")


def test_a_broken_request_body_is_answered_unless_a_response_has_begun() -> None:
    post = b"POST http://a.test/ HTTP/1.1\r\nHost: a.test\r\nTransfer-Encoding: chunked\r\n\r\n"
    session = Session(post)
    with pytest.raises(ProtocolError, match="in the request's body: illegal chunk header") as caught:
        session.from_client(b"3\r\nabc\r\nZZ\r\n")
    assert caught.value.reply.startswith(b"HTTP/1.1 400 ")
    session = Session(post).from_origin(OK[:-1])
    with pytest.raises(ProtocolError) as caught:
        session.from_client(b"ZZ\r\n")
    assert caught.value.reply == b""


@pytest.mark.parametrize(
    "response",
    [
        b"SSH-2.0-OpenSSH_9.9\r\n\r\n",
        b"\x00",
        b"HTTP/1.1 099 x\r\n\r\n",
        b"HTTP/1.1 101 Switching Protocols\r\n\r\n",  # no request asked for it
        b"HTTP/1.1 200 OK\r\nContent-Length: 1, 2\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nA: " + b"x" * 70_000,
    ],
)
def test_no_valid_response_becomes_a_502(response: bytes) -> None:
    session = Session(GET)
    with pytest.raises(ProtocolError, match=r"a\.test:80 sent no valid response") as caught:
        session.from_origin(b"HTTP/1.1 103 Early Hints\r\n\r\n" + response)
    assert caught.value.reply.startswith(b"HTTP/1.1 103 Early Hints\r\n\r\nHTTP/1.1 502 Bad Gateway\r\n")
    assert b"error=http_protocol_error" in caught.value.reply


def test_a_response_that_breaks_is_passed_on_up_to_there() -> None:
    session = Session(GET)
    with pytest.raises(ProtocolError, match="no valid response") as caught:
        session.from_origin(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\nZZ\r\n")
    assert caught.value.reply == b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n"


@pytest.mark.parametrize("method", [b"GET", b"HEAD"])
@pytest.mark.parametrize("response", [b"", b"HTTP/1.1 100 Continue\r\n\r\n", b"HTTP/1.1 200 O"])
def test_an_origin_that_ends_without_a_response_becomes_a_502(response: bytes, method: bytes) -> None:
    session = Session(method + b" http://a.test/ HTTP/1.1\r\nHost: a.test\r\n\r\n")
    if response:
        session.from_origin(response)
    with pytest.raises(ProtocolError, match=r"a\.test:80 ended the connection before") as caught:
        session.origin_eof()
    assert caught.value.reply.startswith(b"HTTP/1.1 502 Bad Gateway\r\n")
    assert b"error=http_response_incomplete" in caught.value.reply
    assert caught.value.reply.endswith(b"\r\n\r\n") is (method == b"HEAD")


@pytest.mark.parametrize(
    "framing", [b"Content-Length: 9\r\n\r\nhello", b"Transfer-Encoding: chunked\r\n\r\n9\r\nhello"]
)
def test_an_origin_that_ends_in_mid_response_leaves_the_client_with_what_came(framing: bytes) -> None:
    session = Session(GET).from_origin(b"HTTP/1.1 200 OK\r\n" + framing)
    assert b"hello" in session.client
    with pytest.raises(ProtocolError) as caught:
        session.origin_eof()
    assert caught.value.reply == b""


def test_an_origin_that_is_not_reached_is_answered_for_each_request() -> None:
    session = Session(GET, connect=False)
    assert not session.codec.response_started
    reply = session.codec.refuse(REFUSED)
    assert reply.startswith(b"HTTP/1.1 502 ")
    assert reply.endswith(b"\r\n\r\nconnection refused: a.test:80\n")
    assert session.codec.wants_close
    assert session.codec.refuse(REFUSED) == b""
    assert session.codec.from_client(GET) == b""

    session = Session(GET).from_origin(OK)
    assert session.codec.response_started
    assert session.codec.refuse(REFUSED) == b"", "nothing is pending"
    assert session.codec.from_client(GET_B.replace(b"GET", b"HEAD")) == b""
    assert session.codec.from_origin(b"late") == b"", "it comes from the origin before"
    reply = session.codec.refuse(REFUSED)
    assert reply.startswith(b"HTTP/1.1 502 ")
    assert reply.endswith(b"\r\n\r\n")
