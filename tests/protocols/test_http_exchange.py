"""Plain http forwarding: what the origin gets, and what the client gets."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay.protocols import Connect, open_handshake
from support.exchanges import BASIC, GET, GET_B, GET_SENT, OK, REFUSED, Session, unchunked

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
