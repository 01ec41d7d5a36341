"""Which protocol it is, and that nothing a client may send breaks the relay."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay.errors import ProtocolError
from relay.protocols import NEED_DATA, Connect, Credentials, open_handshake

Converse = Callable[..., Any]
ALICE = Credentials("alice", "wonderland")


@pytest.mark.parametrize(
    ("first", "name"),
    [
        (b"\x04\x01\x00\x50\x7f\x00\x00\x01\x00", "socks4"),
        (b"\x04\x01\x00\x50\x00\x00\x00\x01\x00a.test\x00", "socks4a"),
        (b"\x05\x01\x00", "socks5"),
        (b"CONNECT a.test:443 HTTP/1.0\r\n\r\n", "http-connect"),
        (b"GET http://a.test/ HTTP/1.0\r\n\r\n", "http"),
        (b"get http://a.test/ HTTP/1.0\r\n\r\n", "http"),
        (b"Z", "http"),
        (b"a", "http"),
    ],
)
def test_the_first_byte_tells_the_protocol(first: bytes, name: str, converse: Converse) -> None:
    assert converse([first]).name == name


@pytest.mark.parametrize(
    ("first", "message"),
    [
        (b"\x16\x03\x01\x02\x00", "TLS handshake"),
        (b"\x00\x01\x02\x03\x04\x05\x06\x07\x08", r"\\x07'$"),
        (b"[", "neither SOCKS nor HTTP"),
        (b"@", "neither SOCKS nor HTTP"),
        (b"{", "neither SOCKS nor HTTP"),
        (b"`", "neither SOCKS nor HTTP"),
        (b"\x06", "neither SOCKS nor HTTP"),
        (b"\xe9", "neither SOCKS nor HTTP"),
        (b"", "without a request"),
    ],
)
def test_what_is_no_protocol_of_ours_is_named_and_gets_no_answer(first: bytes, message: str) -> None:
    with pytest.raises(ProtocolError, match=message) as caught:
        open_handshake(first, None)
    assert caught.value.reply == b""


def test_credentials_do_not_show_in_a_log() -> None:
    assert "wonderland" not in repr(ALICE)
    assert "alice" in repr(ALICE)


@pytest.mark.parametrize(
    ("username", "password", "right"),
    [
        ("alice", "wonderland", True),
        (b"alice", b"wonderland", True),
        ("alice", "Wonderland", False),
        ("bob", "wonderland", False),
        ("", "", False),
    ],
)
def test_both_username_and_password_must_match(username: str, password: str, right: bool) -> None:
    assert ALICE.match(username, password) is right


def test_credentials_are_compared_as_utf8() -> None:
    assert Credentials("jürgen", "pässword").match("jürgen".encode(), "pässword".encode())
    assert not Credentials("jürgen", "x").match("jürgen".encode("latin-1"), b"x")
    assert Credentials("\udcff", "x").match(b"\xff", "x")


@pytest.mark.parametrize(
    "data",
    [
        b"\x04\x02\x00\x50\x7f\x00\x00\x01\x00",
        b"\x05\x00",
        b"GET / HTTP/1.0\r\n\r\n",
    ],
)
def test_after_an_error_there_is_nothing_but_the_error(data: bytes) -> None:
    handshake = open_handshake(data, None)
    for _ in range(2):
        with pytest.raises(ProtocolError):
            handshake.next_event()
        handshake.receive_data(b"\x04\x01\x00\x50\x7f\x00\x00\x01\x00")
    assert handshake.trailing_data == b""


PIECES = st.sampled_from(
    [
        *(
            b"\x04\x01\x00\x50\x00\x00\x00\x01",
            b"\x04\x01\x00\x50\x7f\x00\x00\x01",
            b"alice\x00",
            b"a.test\x00",
            b"\x00",
        ),
        *(b"\x05\x01\x00", b"\x05\x02\x00\x02", b"\x05\x01\x02", b"\x01\x05alice\x0awonderland", b"\x05\x01\x00\x01"),
        *(b"\x05\x01\x00\x03\x06a.test\x00\x50", b"\x05\x01\x00\x04", b"\x05\x03\x00\x01", b"\x7f\x00\x00\x01\x00\x50"),
        *(b"GET http://a.test/ HTTP/1.1\r\n", b"CONNECT [::1]:443 HTTP/1.1\r\n", b"Host: a.test\r\n", b"\r\n", b"\n"),
        *(b"POST http://a.test HTTP/1.0\r\n", b"Content-Length: 3\r\n", b"Transfer-Encoding: chunked\r\n", b"3\r\nabc"),
        *(
            b"Proxy-Authorization: Basic YWxpY2U6d29uZGVybGFuZA==\r\n",
            b"GET ",
            b"http://",
            b" HTTP/1.1\r\n",
            b" folded",
        ),
        *(
            b"OPTIONS http://a.test HTTP/1.1\r\n",
            b"http://[::1]:99999/",
            b"http://u@h:0/",
            b"x" * 9000,
            b"a: b\r\n" * 9000,
        ),
    ]
)


@given(
    chunks=st.lists(st.one_of(PIECES, st.binary(max_size=40)), min_size=1, max_size=12),
    credentials=st.sampled_from([None, ALICE]),
)
def test_arbitrary_bytes_lead_to_events_or_a_protocol_error(
    chunks: list[bytes], credentials: Credentials | None
) -> None:
    longest = 8 * 1024 + 64 * 1024 + 4
    fault, reply = "none", b""
    try:
        handshake = open_handshake(chunks[0], credentials)
        for chunk in [b"", *chunks[1:]]:
            handshake.receive_data(chunk)
            while (event := handshake.next_event()) is not NEED_DATA:
                if isinstance(event, Connect):
                    assert event.destination.host.isascii()
                    assert 0 < event.destination.port <= 0xFFFF
                    return
            assert len(handshake._buffer) <= longest  # type: ignore[attr-defined]
    except ProtocolError as error:
        fault, reply = str(error), error.reply
    assert fault
    assert len(reply) < 20_000
