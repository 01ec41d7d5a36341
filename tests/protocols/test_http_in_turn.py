"""Plain http forwarding: one request after another, and responses that come early."""

from __future__ import annotations

import pytest

from relay.errors import ProtocolError
from support.exchanges import GET, GET_B, GET_B_SENT, GET_SENT, OK, POST_10, Session

# One request after another


def test_requests_to_one_origin_share_its_connection() -> None:
    session = Session(GET)
    for _ in range(2):
        session.from_origin(OK).from_client(b"\r\n" + GET)
    session.from_origin(OK)
    assert session.origins == [("a.test:80", GET_SENT * 3)]
    assert session.client == OK * 3


def test_a_short_request_after_a_long_one_that_trickled_in_is_seen() -> None:
    session = Session(GET).from_origin(OK)
    session.from_client(b"GET http://a.test/ HTTP/1.1\r\nX: " + b"x" * 500, b"\r\nHost: a.test\r\n\r\n").from_origin(OK)
    assert session.from_client(GET).sent.endswith(GET_SENT)
    assert session.from_origin(OK).client == OK * 3


def test_a_request_to_another_origin_asks_for_another_connection() -> None:
    session = Session(GET).from_origin(OK)
    assert session.codec.from_client(GET_B) == b""
    assert str(session.codec.next_destination) == "b.test:80"
    session.connect()
    session.from_origin(OK).from_client(GET)
    assert session.origins == [("a.test:80", GET_SENT), ("b.test:80", GET_B_SENT), ("a.test:80", GET_SENT)]


@pytest.mark.parametrize(
    "response",
    [
        b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nok",
        b"HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nok",
        OK + b"HTTP/1.1 408 Request Timeout\r\n\r\n",
    ],
)
def test_an_origins_connection_that_cannot_be_used_again_is_not(response: bytes) -> None:
    session = Session(GET).from_origin(response)
    assert session.client == OK
    assert not session.codec.wants_close
    assert session.from_client(GET).origins == [("a.test:80", GET_SENT)] * 2


def test_what_an_idle_origin_says_is_dropped() -> None:
    session = Session(GET).from_origin(OK, b"", b"HTTP/1.1 408 Request Timeout\r\n\r\n", b"x" * 1000)
    assert session.client == OK
    assert session.from_client(GET).origins == [("a.test:80", GET_SENT)] * 2


def test_the_origin_before_has_no_say_in_the_next_request() -> None:
    session = Session(GET).from_origin(OK.replace(b"OK\r\n", b"OK\r\nConnection: close\r\n"))
    assert session.codec.from_client(GET_B) == b""
    assert session.codec.from_origin(b"late") == b""
    assert session.codec.origin_eof() == b""
    session.connect()
    assert session.from_origin(OK).client == OK + OK


def test_an_idle_origin_that_ends_is_not_used_again() -> None:
    session = Session(GET).from_origin(OK).origin_eof()
    assert not session.codec.wants_close
    assert session.from_client(GET).from_origin(OK).client == OK + OK
    assert session.origins == [("a.test:80", GET_SENT)] * 2


def test_pipelined_requests_wait_for_the_response_before_them() -> None:
    session = Session(GET + GET + GET_B)
    assert session.origins == [("a.test:80", GET_SENT)]
    session.from_origin(OK[:-1])
    assert session.sent == GET_SENT
    session.from_origin(OK[-1:])
    assert session.origins == [("a.test:80", GET_SENT * 2)]
    session.from_origin(OK)
    assert session.origins == [("a.test:80", GET_SENT * 2), ("b.test:80", GET_B_SENT)]
    assert session.from_origin(OK).client == OK * 3


def test_a_client_far_ahead_is_to_be_read_no_more() -> None:
    session = Session(GET)
    assert not session.codec.paused
    session.from_client(GET * 2000)
    assert session.codec.paused
    while session.codec.paused:
        session.from_origin(OK)
    assert len(session.client) > 400 * len(OK)
    assert session.sent.startswith(GET_SENT * 400)


def test_a_client_whose_origin_is_not_connected_yet_is_read_up_to_a_limit() -> None:
    session = Session(b"POST http://a.test/ HTTP/1.0\r\nContent-Length: 100000\r\n\r\n", connect=False)
    assert session.codec.from_client(b"x" * 100000) == b""
    assert session.codec.paused
    session.connect()
    assert not session.codec.paused
    assert session.sent.endswith(b"\r\n\r\n" + b"x" * 100000)


def test_a_long_body_is_never_kept() -> None:
    session = Session(b"POST http://a.test/ HTTP/1.1\r\nHost: a\r\nContent-Length: 10000000\r\n\r\n")
    session.from_origin(b"HTTP/1.1 200 OK\r\nContent-Length: 10000000\r\n\r\n")
    for _ in range(20):
        assert session.codec.from_client(b"x" * 100_000) == b"x" * 100_000
        assert session.codec.from_origin(b"y" * 100_000) == b"y" * 100_000
        assert not session.codec.paused


def test_the_limits_hold_for_pipelined_requests_too() -> None:
    session = Session(GET + b"GET http://a.test/ HTTP/1.0\r\nA: " + b"x" * 100_000 + b"\r\n\r\n")
    with pytest.raises(ProtocolError) as caught:
        session.from_origin(OK)
    assert caught.value.reply.startswith(b"HTTP/1.1 431 ")


def test_a_long_head_between_two_requests_does_not_pause_the_client() -> None:
    session = Session(GET).from_origin(OK).from_client(b"GET http://a.test/" + b"x" * 8000)
    session.from_client(b" HTTP/1.0\r\nA: " + b"y" * 65_000)
    assert not session.codec.paused


def test_a_head_is_under_way_from_its_first_byte_until_it_is_whole() -> None:
    session = Session(GET)
    assert not session.codec.within_head
    session.from_client(GET[:9])
    assert not session.codec.within_head, "the response to the request before it is awaited, too"
    session.from_origin(OK)
    assert session.codec.within_head
    session.from_client(GET[9:])
    assert not session.codec.within_head
    session.from_origin(OK).from_client(b"\r\n")
    assert not session.codec.within_head, "an empty line begins nothing"
    session.from_client(b"G")
    assert session.codec.within_head
    session.client_eof()
    assert not session.codec.within_head


# 100-continue, and responses that come early


def test_the_clients_expectation_and_the_origins_100_pass() -> None:
    session = Session(
        b"PUT http://a.test/ HTTP/1.1\r\nHost: a.test\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\n"
    )
    assert session.sent == b"PUT / HTTP/1.1\r\nHost: a.test\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\n"
    session.from_origin(b"HTTP/1.1 100 Continue\r\nConnection: x\r\nX: 1\r\n\r\n")
    assert session.client == b"HTTP/1.1 100 Continue\r\n\r\n"
    assert not session.codec.response_started
    session.from_client(b"ok").from_origin(b"HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n" + OK)
    assert session.client == b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n" + OK
    assert session.sent.endswith(b"\r\n\r\nok")


def test_a_body_goes_on_after_the_response_and_the_origins_fin() -> None:
    session = Session(POST_10).from_origin(OK).origin_eof()
    assert session.client == OK
    session.from_client(b"678")
    assert session.sent.endswith(b"\r\n\r\n12345678")
    session.from_client(b"90" + GET)
    assert session.origins[0][1].endswith(b"\r\n\r\n1234567890")
    assert session.origins[1:] == [("a.test:80", GET_SENT)]


@pytest.mark.parametrize("head", [b"HTTP/1.1 413 Too Large\r\nConnection: close\r\n", b"HTTP/1.0 413 Too Large\r\n"])
def test_an_origin_that_will_not_hear_the_rest_lets_the_client_know(head: bytes) -> None:
    session = Session(POST_10).from_origin(head + b"Content-Length: 0\r\n\r\n")
    assert session.client == b"HTTP/1.1 413 Too Large\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
    assert session.codec.wants_close
    session.from_client(b"67890")
    assert session.sent.endswith(b"1234567890"), "the client may send it nevertheless"
    assert session.from_client(GET).origins[1:] == []
