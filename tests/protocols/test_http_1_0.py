"""HTTP/1.0's way to keep a connection (RFC 9112 section 9.3): `Connection: keep-alive`, answered hop by hop."""

from __future__ import annotations

import pytest

from relay.protocols import HttpExchange
from support.exchanges import exchange

KEEP = b"GET http://a.test/ HTTP/1.0\r\nConnection: Keep-Alive\r\n\r\n"
SENT = b"GET / HTTP/1.1\r\nHost: a.test\r\n\r\n"
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
KEPT = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: keep-alive\r\n\r\nok"


def test_a_client_that_asks_for_it_is_kept_and_so_is_its_origin() -> None:
    codec = exchange(KEEP)
    for _ in range(3):
        assert codec.from_origin(OK) == KEPT
        assert not codec.wants_close
        assert codec.from_client(KEEP) == SENT
        assert codec.next_destination is None, "the origin's connection serves again"


@pytest.mark.parametrize(
    "options",
    [
        b"",
        b"Connection: close\r\n",
        b"Connection: keep-alive, close\r\n",
        b"Connection: x\r\n",
        b"Proxy-Connection: keep-alive\r\n",  # it may have come through a proxy that does not know it
        b"Keep-Alive: timeout=5\r\n",
    ],
)
def test_a_client_that_does_not_ask_gets_one_response_and_the_end(options: bytes) -> None:
    codec = exchange(b"GET http://a.test/ HTTP/1.0\r\n" + options + b"\r\n")
    assert codec.from_origin(OK) == KEPT.replace(b"keep-alive", b"close")
    assert codec.wants_close


@pytest.mark.parametrize(
    ("response", "heard"),
    [
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n", b"HTTP/1.1 200 OK\r\n%b\r\nok"),
        (b"HTTP/1.0 200 OK\r\n\r\nok", b"HTTP/1.1 200 OK\r\n%b\r\nok"),
    ],
)
def test_a_body_whose_length_only_the_end_tells_ends_the_client(response: bytes, heard: bytes) -> None:
    codec = exchange(KEEP)
    assert codec.from_origin(response) + codec.origin_eof() == heard % b"Connection: close\r\n"
    assert codec.wants_close


@pytest.mark.parametrize(
    ("method", "head"),
    [
        (b"HEAD", b"HTTP/1.1 200 OK\r\n%b\r\n"),
        (b"HEAD", b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n%b\r\n"),
        (b"GET", b"HTTP/1.1 204 No Content\r\n%b\r\n"),
        (b"GET", b"HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\n%b\r\n"),
        (b"GET", b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n%b\r\n"),
    ],
)
def test_a_response_without_a_body_keeps_the_client(method: bytes, head: bytes) -> None:
    codec = exchange(KEEP.replace(b"GET", method))
    assert codec.from_origin(head % b"") == head % b"Connection: keep-alive\r\n"
    assert not codec.wants_close


def test_each_request_asks_for_itself() -> None:
    codec = exchange(KEEP)
    assert codec.from_origin(OK) == KEPT
    codec.from_client(b"GET http://a.test/ HTTP/1.0\r\n\r\n")
    assert codec.from_origin(OK) == KEPT.replace(b"keep-alive", b"close")
    assert codec.wants_close


def test_pipelined_requests_are_answered_in_order() -> None:
    codec = exchange(KEEP + KEEP + KEEP.replace(b"Keep-Alive", b"close"))
    assert codec.from_origin(OK) == KEPT
    assert codec.from_client(b"") == SENT
    assert codec.from_origin(OK) == KEPT
    assert codec.from_client(b"") == SENT.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n")
    assert codec.from_origin(OK) == KEPT.replace(b"keep-alive", b"close")
    assert codec.wants_close


def test_a_client_that_need_not_send_the_rest_of_its_body_learns_it() -> None:
    codec = exchange(KEEP.replace(b"GET", b"POST").replace(b"\r\n\r\n", b"\r\nContent-Length: 9\r\n\r\nhel"))
    heard = codec.from_origin(b"HTTP/1.1 413 Too Large\r\nConnection: close\r\nContent-Length: 0\r\n\r\n")
    assert heard == b"HTTP/1.1 413 Too Large\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
    assert codec.wants_close


def test_a_client_of_http_1_1_gets_no_such_header_for_it_keeps_by_itself() -> None:
    codec = exchange(b"GET http://a.test/ HTTP/1.1\r\nHost: a.test\r\nConnection: keep-alive\r\n\r\n")
    assert codec.from_origin(OK.replace(b"\r\n\r\n", b"\r\nConnection: keep-alive\r\n\r\n")) == OK


@pytest.mark.parametrize(
    ("options", "kept"),
    [
        (b"Connection: keep-alive\r\nKeep-Alive: timeout=5\r\n", True),
        (b"", False),
        (b"Connection: close, keep-alive\r\n", False),
        (b"Keep-Alive: timeout=5\r\n", False),
    ],
)
@pytest.mark.parametrize("asking", [KEEP, b"GET http://a.test/ HTTP/1.1\r\nHost: a.test\r\n\r\n"], ids=["1.0", "1.1"])
def test_an_origin_of_http_1_0_is_kept_if_it_says_so(asking: bytes, options: bytes, kept: bool) -> None:
    codec = exchange(asking)
    heard = codec.from_origin(b"HTTP/1.0 200 OK\r\nContent-Length: 2\r\n" + options + b"\r\nok")
    assert heard == (KEPT if asking is KEEP else OK)
    codec.from_client(asking)
    assert is_asked(codec) is kept


def is_asked(codec: HttpExchange) -> bool:
    """Whether the request is with the origin that answered the one before."""
    return codec.next_destination is None
