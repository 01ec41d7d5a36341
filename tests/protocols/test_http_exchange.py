"""Plain http forwarding: what the origin gets, what the client gets, and when."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay.errors import ProtocolError
from relay.events import DialFailure, FailureKind
from relay.protocols import Connect, Credentials, HttpExchange, open_handshake

ALICE = Credentials("alice", "wönder")
BASIC = b"Proxy-Authorization: Basic YWxpY2U6d8O2bmRlcg==\r\n"
GET = b"GET http://a.test/ HTTP/1.1\r\nHost: a.test\r\n\r\n"
GET_SENT = b"GET / HTTP/1.1\r\nHost: a.test\r\n\r\n"
GET_B = b"GET http://b.test/ HTTP/1.1\r\nHost: b.test\r\n\r\n"
GET_B_SENT = b"GET / HTTP/1.1\r\nHost: b.test\r\n\r\n"
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
REFUSED = DialFailure(FailureKind.REFUSED)


class Session:
    """The driver's part, without its sockets: connects whenever the codec asks for it."""

    def __init__(
        self, first: bytes, *rest: bytes, credentials: Credentials | None = None, connect: bool = True
    ) -> None:
        handshake = open_handshake(first, credentials)
        for chunk in rest:
            handshake.receive_data(chunk)
        event = handshake.next_event()
        assert isinstance(event, Connect)
        assert handshake.codec is not None
        self.codec: HttpExchange = handshake.codec
        assert self.codec.next_destination == event.destination
        self.origins: list[tuple[str, bytes]] = []
        self.client = b""
        if connect:
            self.connect()

    @property
    def sent(self) -> bytes:
        """What the latest origin got."""
        return self.origins[-1][1]

    def connect(self) -> None:
        while (where := self.codec.next_destination) is not None:
            self.origins.append((str(where), b""))
            self._to_origin(self.codec.start())

    def from_client(self, *chunks: bytes) -> Session:
        for data in chunks:
            self._to_origin(self.codec.from_client(data))
            self.connect()
            while self.codec.behind_client:
                self._to_origin(self.codec.from_client(b""))
                self.connect()
        return self

    def client_eof(self) -> Session:
        self._to_origin(self.codec.client_eof())
        return self

    def from_origin(self, *chunks: bytes) -> Session:
        for data in chunks:
            self.client += self.codec.from_origin(data)
            while self.codec.behind_origin:
                self.client += self.codec.from_origin(b"")
            self.from_client(b"")
        return self

    def origin_eof(self) -> Session:
        self.client += self.codec.origin_eof()
        return self.from_client(b"")

    def _to_origin(self, data: bytes) -> None:
        where, sent = self.origins[-1]
        self.origins[-1] = (where, sent + data)


def unchunked(message: bytes) -> tuple[bytes, bytes]:
    """The head, and the body with its chunks put together; the last chunk must be there."""
    head, _, rest = message.partition(b"\r\n\r\n")
    body = b""
    while True:
        size, _, rest = rest.partition(b"\r\n")
        count = int(size, 16)
        if count == 0:
            assert rest == b"\r\n"
            return head, body
        body += rest[:count]
        assert rest[count : count + 2] == b"\r\n"
        rest = rest[count + 2 :]


# What the origin gets


@pytest.mark.parametrize(
    ("target", "line", "host"),
    [
        (b"http://a.test/p/q?r=1&s", b"/p/q?r=1&s", b"a.test"),
        (b"http://a.test", b"/", b"a.test"),
        (b"http://a.test:8080?q", b"/?q", b"a.test:8080"),
        (b"http://user:pw@a.test/", b"/", b"a.test"),
        (b"http://[::1]:81/#top", b"/", b"[::1]:81"),
        (b"HTTP://A.test/%20x", b"/%20x", b"A.test"),
    ],
)
@pytest.mark.parametrize(
    "rest", [b" HTTP/1.1\r\nHost: ignored\r\n\r\n", b" HTTP/1.0\r\nConnection: keep-alive\r\n\r\n"]
)
def test_the_target_becomes_origin_form_and_host_follows_it(
    target: bytes, line: bytes, host: bytes, rest: bytes
) -> None:
    assert Session(b"GET " + target + rest).sent == b"GET " + line + b" HTTP/1.1\r\nHost: " + host + b"\r\n\r\n"


@pytest.mark.parametrize(
    ("target", "sent"), [(b"http://a.test", b"*"), (b"http://a.test/", b"/"), (b"http://a.test?q", b"/?q")]
)
def test_options_of_a_whole_server_becomes_the_asterisk_form(target: bytes, sent: bytes) -> None:
    session = Session(b"OPTIONS " + target + b" HTTP/1.0\r\nConnection: keep-alive\r\n\r\n")
    assert session.sent == b"OPTIONS " + sent + b" HTTP/1.1\r\nHost: a.test\r\n\r\n"


def test_only_the_headers_of_one_hop_are_taken_out() -> None:
    session = Session(
        b"GET http://a.test/ HTTP/1.1\r\nhOsT: x\r\nX-First: 1\r\n" + BASIC + b"Proxy-Connection: keep-alive\r\n"
        b"Connection: keep-alive, X-Mine,Content-Length\r\nX-Mine: 2\r\nKeep-Alive: timeout=5\r\nTE: trailers\r\n"
        b"Upgrade: h2c\r\nCookie: a=b\r\ncookie: c=d\r\nContent-Length: 0\r\nX-Last: \xe9\r\n\r\n"
    )
    assert session.sent == (
        b"GET / HTTP/1.1\r\nHost: a.test\r\nX-First: 1\r\nCookie: a=b\r\ncookie: c=d\r\nContent-Length: 0\r\n"
        b"X-Last: \xe9\r\n\r\n"
    )


def test_an_upgrade_that_names_nothing_is_left_out() -> None:
    session = Session(
        b"GET http://a.test/ HTTP/1.1\r\nHost: a.test\r\nConnection: upgrade\r\nUpgrade: h2c\r\nUpgrade:\r\n\r\n"
    )
    assert session.sent.endswith(b"\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n\r\n")


def test_a_body_of_known_length_passes_as_it_comes() -> None:
    session = Session(b"POST http://a.test/ HTTP/1.1\r\nHost: a.test\r\nContent-Length: 6\r\n\r\nab")
    head = b"POST / HTTP/1.1\r\nHost: a.test\r\nContent-Length: 6\r\n\r\n"
    assert session.sent == head + b"ab"
    assert session.from_client(b"cd").sent == head + b"abcd"
    assert session.from_client(b"ef").sent == head + b"abcdef"


def test_a_chunked_body_passes_as_it_comes_with_its_trailers() -> None:
    session = Session(b"POST http://a.test/ HTTP/1.1\r\nHost: a.test\r\nTransfer-Encoding: Chunked\r\n\r\n5;x=y\r\nhe")
    head = b"POST / HTTP/1.1\r\nHost: a.test\r\nTransfer-Encoding: chunked\r\n\r\n"
    assert session.sent == head + b"2\r\nhe\r\n"
    session.from_client(b"llo\r\n", b"0\r\nX-Sum: 1\r\n\r\n")
    assert session.sent == head + b"2\r\nhe\r\n3\r\nllo\r\n0\r\nX-Sum: 1\r\n\r\n"


def test_requests_are_the_same_however_they_are_cut() -> None:
    post = b"POST http://a.test/ HTTP/1.1\r\nHost: a.test\r\nContent-Length: 3\r\n\r\nabc"
    whole = b"POST / HTTP/1.1\r\nHost: a.test\r\nContent-Length: 3\r\n\r\nabc"
    second = b"PUT http://a.test/2 HTTP/1.1\r\nHost: a.test\r\nContent-Length: 1\r\n\r\nx"
    expected = whole + b"PUT /2 HTTP/1.1\r\nHost: a.test\r\nContent-Length: 1\r\n\r\nx"
    for chunks in _cuts(second):
        assert Session(post).from_origin(OK).from_client(*chunks).sent == expected, chunks
    for chunks in _cuts(post[-10:]):
        assert Session(post[:-10], *chunks).sent == whole, chunks


def _cuts(data: bytes) -> list[list[bytes]]:
    return [[bytes((byte,)) for byte in data], *([data[:at], data[at:]] for at in range(1, len(data)))]


# What the client gets


@pytest.mark.parametrize(
    ("response", "expected"),
    [
        (OK, OK),
        (b"HTTP/1.1 200\r\nContent-Length: 0\r\n\r\n", b"HTTP/1.1 200 \r\nContent-Length: 0\r\n\r\n"),
        (b"HTTP/1.1 204 No Content\r\nX: y\r\n\r\n", b"HTTP/1.1 204 No Content\r\nX: y\r\n\r\n"),
        (
            b"HTTP/1.1 304 Not Modified\r\nContent-Length: 9\r\n\r\n",
            b"HTTP/1.1 304 Not Modified\r\nContent-Length: 9\r\n\r\n",
        ),
        (
            b"HTTP/1.1 200 OK\r\nKeep-Alive: 1\r\nConnection: X-Mine\r\nX-Mine: 1\r\nSet-Cookie: a\r\nset-cookie: b\r\n"
            b"Proxy-Authenticate: Basic\r\nContent-Length: 1\r\n\r\nx",
            b"HTTP/1.1 200 OK\r\nSet-Cookie: a\r\nset-cookie: b\r\nContent-Length: 1\r\n\r\nx",
        ),
    ],
)
def test_a_response_passes_but_for_the_headers_of_one_hop(response: bytes, expected: bytes) -> None:
    for chunks in _cuts(response):
        session = Session(GET).from_origin(*chunks)
        assert session.client == expected, chunks
        assert not session.codec.wants_close


def test_the_answer_to_a_head_has_a_length_and_no_body() -> None:
    response = b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n"
    session = Session(b"HEAD http://a.test/ HTTP/1.1\r\nHost: a.test\r\n\r\n").from_origin(response)
    assert session.client == response
    assert session.from_client(GET).origins == [("a.test:80", b"HEAD / HTTP/1.1\r\nHost: a.test\r\n\r\n" + GET_SENT)]


def test_a_chunked_response_passes_as_it_comes_with_its_trailers() -> None:
    response = (
        b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\nX-Sum: 1\r\n\r\n"
    )
    session = Session(GET).from_origin(response[:-15])
    assert session.client == b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n"
    session.from_origin(response[-15:])
    assert session.client.endswith(b"5\r\nhello\r\n0\r\nX-Sum: 1\r\n\r\n")
    for chunks in _cuts(response.replace(b"X-Sum: 1\r\n", b"")):
        head, body = unchunked(Session(GET).from_origin(*chunks).client)
        assert (head, body) == (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked", b"hello")


def test_an_http_1_0_client_gets_no_chunks_but_the_end_of_the_connection() -> None:
    session = Session(b"GET http://a.test/ HTTP/1.0\r\n\r\n")
    session.from_origin(b"HTTP/1.1 100 Continue\r\n\r\n")
    assert session.client == b""
    session.from_origin(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n")
    assert session.client == b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\nhello"
    assert not session.codec.wants_close
    session.from_origin(b"0\r\nX-Sum: 1\r\n\r\n")
    assert session.client.endswith(b"\r\n\r\nhello")
    assert session.codec.wants_close


def test_a_body_that_ends_with_the_connection_is_chunked_for_a_client_that_knows_chunks() -> None:
    session = Session(GET).from_origin(b"HTTP/1.0 200 OK\r\n\r\nhel", b"lo")
    assert session.client == b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nhel\r\n2\r\nlo\r\n"
    session.origin_eof()
    assert unchunked(session.client)[1] == b"hello"
    assert not session.codec.wants_close
    assert session.from_client(GET).origins == [("a.test:80", GET_SENT), ("a.test:80", GET_SENT)]


def test_a_body_that_ends_with_the_connection_does_so_for_an_http_1_0_client() -> None:
    session = Session(b"GET http://a.test/ HTTP/1.0\r\n\r\n").from_origin(b"HTTP/1.0 200 OK\r\n\r\nhello")
    assert session.client == b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\nhello"
    assert session.origin_eof().codec.wants_close


@pytest.mark.parametrize("ask", [b"HTTP/1.1\r\nHost: a.test\r\nConnection: Close\r\n\r\n", b"HTTP/1.0\r\n\r\n"])
def test_a_client_that_asks_for_one_response_gets_one_and_the_end(ask: bytes) -> None:
    session = Session(b"GET http://a.test/ " + ask).from_origin(OK[:-1])
    assert session.sent == GET_SENT.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n"), "nor has the origin more"
    assert not session.codec.wants_close
    session.from_origin(OK[-1:])
    assert session.client == OK.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n")
    assert session.codec.wants_close
    assert session.from_client(GET_B).origins == [("a.test:80", session.sent)]
    assert session.codec.wants_close
    assert session.codec.refuse(REFUSED) == b""


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


POST_10 = b"POST http://a.test/ HTTP/1.1\r\nHost: a.test\r\nContent-Length: 10\r\n\r\n12345"


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


# Authentication, and what goes wrong


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


# FIN from the client


def test_a_clients_fin_is_passed_on_when_all_its_requests_are() -> None:
    session = Session(GET + GET).client_eof()
    assert not session.codec.origin_done
    session.from_origin(OK)
    assert session.codec.origin_done
    assert not session.codec.wants_close
    session.from_origin(OK)
    assert session.client == OK * 2
    assert session.codec.wants_close


def test_a_clients_fin_between_requests_ends_everything() -> None:
    session = Session(GET).from_origin(OK)
    assert not session.codec.origin_done
    assert not session.codec.wants_close
    session.client_eof()
    assert session.codec.origin_done
    assert session.codec.wants_close


def test_a_clients_fin_within_a_head_ends_everything() -> None:
    session = Session(GET).from_origin(OK).from_client(GET[:20]).client_eof()
    assert session.codec.wants_close
    assert session.codec.origin_done
    assert session.sent == GET_SENT


def test_a_clients_fin_before_the_connection_does_not_lose_the_request() -> None:
    session = Session(GET, connect=False)
    assert session.codec.client_eof() == b""
    assert not session.codec.origin_done
    session.connect()
    assert session.sent == GET_SENT
    assert session.codec.origin_done
    assert session.from_origin(OK).client == OK
    assert session.codec.wants_close


@pytest.mark.parametrize("early", [True, False])
def test_a_clients_fin_within_a_body_leaves_the_response_to_come(early: bool) -> None:
    session = Session(POST_10)
    if early:
        session.from_origin(OK).client_eof()
    else:
        session.client_eof()
        assert session.codec.origin_done
        assert not session.codec.wants_close
        session.from_origin(OK)
    assert session.client == OK
    assert session.codec.wants_close
    assert session.codec.origin_done


@pytest.mark.parametrize("connect", [True, False])
def test_a_clients_fin_within_a_chunks_header_leaves_nothing_to_wait_for(connect: bool) -> None:
    post = b"POST http://a.test/ HTTP/1.1\r\nHost: a.test\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nx\r\n2"
    session = Session(post, connect=connect)
    assert session.codec.client_eof() == b""
    session.connect()
    assert session.sent.endswith(b"\r\n\r\n1\r\nx\r\n")
    assert session.codec.origin_done
    assert session.from_origin(OK).client == OK
    assert session.codec.wants_close


# Another protocol

UPGRADE = (
    b"GET http://a.test/ HTTP/1.1\r\nHost: a.test\r\n"
    b"Connection: keep-alive, Upgrade\r\nUpgrade: websocket\r\nX: 1\r\n\r\n"
)
UPGRADE_SENT = b"GET / HTTP/1.1\r\nHost: a.test\r\nX: 1\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n"
SWITCH = b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n"
SWITCHED = b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n"


def test_after_101_both_directions_pass_as_they_are() -> None:
    session = Session(UPGRADE, b"\x81early")
    assert session.sent == UPGRADE_SENT
    session.from_origin(SWITCH + b"\x82hello")
    assert session.client == SWITCHED + b"\x82hello"
    assert session.sent == UPGRADE_SENT + b"\x81early"
    session.from_client(b"GET ", b"\x00").from_origin(b"HTTP/1.1 ", b"\xff")
    assert session.client == SWITCHED + b"\x82helloHTTP/1.1 \xff"
    assert session.sent == UPGRADE_SENT + b"\x81earlyGET \x00"


def test_after_101_each_fin_passes_by_itself() -> None:
    session = Session(UPGRADE).from_origin(SWITCH)
    assert (session.codec.wants_close, session.codec.origin_done) == (False, False)
    session.origin_eof()
    assert (session.codec.wants_close, session.codec.origin_done) == (True, False)
    assert session.from_client(b"more").sent == UPGRADE_SENT + b"more"
    session.client_eof()
    assert (session.codec.wants_close, session.codec.origin_done) == (True, True)
    session = Session(UPGRADE).from_origin(SWITCH).client_eof()
    assert (session.codec.wants_close, session.codec.origin_done) == (False, True)
    assert session.from_origin(b"more").client == SWITCHED + b"more"


def test_a_body_under_way_is_finished_before_the_client_may_speak_another_protocol() -> None:
    request = UPGRADE.replace(b"X: 1\r\n", b"Transfer-Encoding: chunked\r\n").replace(b"GET", b"POST")
    session = Session(request).from_origin(SWITCH)
    assert session.client == SWITCHED
    session.from_client(b"2\r\nab", b"\r\n0\r\n\r\nraw", b"raw")
    assert session.sent.endswith(b"\r\n\r\n2\r\nab\r\n0\r\n\r\nrawraw")


def test_an_offer_of_another_protocol_may_be_declined() -> None:
    session = Session(UPGRADE + GET).from_origin(OK)
    assert session.client == OK
    assert session.origins == [("a.test:80", UPGRADE_SENT + GET_SENT)]


def test_an_offer_of_another_protocol_is_not_mixed_with_an_end() -> None:
    assert Session(UPGRADE.replace(b"keep-alive", b"close")).sent == UPGRADE_SENT


def test_an_offer_that_connection_does_not_name_is_not_passed_on() -> None:
    assert Session(UPGRADE.replace(b", Upgrade", b"")).sent == b"GET / HTTP/1.1\r\nHost: a.test\r\nX: 1\r\n\r\n"
    assert b"Upgrade" not in Session(UPGRADE.replace(b"1.1", b"1.0")).sent
    assert b"Connection" not in Session(UPGRADE.replace(b"Upgrade: websocket\r\n", b"")).sent


# Anything that is valid; anything at all is for `tests/fuzz`


@given(
    st.lists(
        st.tuples(st.sampled_from(["GET", "POST"]), st.binary(max_size=30), st.booleans()), min_size=1, max_size=5
    ),
    st.data(),
)
def test_valid_requests_arrive_whole_however_they_are_cut(
    requests: list[tuple[str, bytes, bool]], data: st.DataObject
) -> None:
    stream = b""
    for method, body, chunked in requests:
        framing = "Transfer-Encoding: chunked" if chunked else f"Content-Length: {len(body)}"
        stream += f"{method} http://a.test/ HTTP/1.1\r\nHost: a.test\r\n{framing}\r\n\r\n".encode()
        stream += (b"%x\r\n%s\r\n" % (len(body), body) if body else b"") + b"0\r\n\r\n" if chunked else body
    cuts = sorted(data.draw(st.sets(st.integers(1, len(stream) - 1), max_size=20)))
    chunks = [stream[start:end] for start, end in itertools.pairwise([0, *cuts, len(stream)])]
    handshake = open_handshake(chunks[0], None)
    while not isinstance(handshake.next_event(), Connect):
        handshake.receive_data(chunks.pop(1))
    assert handshake.codec is not None
    sent = handshake.codec.start()
    for chunk in chunks[1:]:
        sent += handshake.codec.from_client(chunk)
    for _ in requests:
        assert handshake.codec.from_origin(OK) == OK
        sent += handshake.codec.from_client(b"")
    for method, body, chunked in requests:
        head, _, sent = sent.partition(b"\r\n\r\n")
        assert head.startswith(f"{method} / HTTP/1.1\r\nHost: a.test\r\n".encode())
        if chunked:
            end = _end_of_chunks(sent)
            assert unchunked(b"\r\n\r\n" + sent[: end + 5])[1] == body
            sent = sent[end + 5 :]
        else:
            assert sent[: len(body)] == body
            sent = sent[len(body) :]
    assert sent == b""


def _end_of_chunks(data: bytes) -> int:
    """Where the last chunk begins."""
    at = 0
    while (size := int(data[at : data.index(b"\r\n", at)], 16)) != 0:
        at = data.index(b"\r\n", at) + 2 + size + 2
    return at
