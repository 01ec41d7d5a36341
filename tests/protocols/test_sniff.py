"""Which protocol it is. That nothing a client may send breaks the relay is for `tests/fuzz` to show."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from relay.errors import ProtocolError
from relay.protocols import NEED_DATA, Credentials, open_handshake

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


@pytest.mark.parametrize(
    ("first", "says"),
    [
        (b"4711-hunter2\r\n", "neither SOCKS nor HTTP: it began with b'4'"),
        (b"\x04\x01\x00\x50\x00\x00\x00\x01\x00ann:hunter2@a.test\x00", "socks4a: a host with an @ in it is neither"),
        (b"\x05\x01\x00\x05\x01\x00\x03\x12ann:hunter2@a.test\x00\x50", "socks5: a host with an @ in it is neither"),
    ],
)
def test_what_may_be_a_secret_is_not_quoted(first: bytes, says: str) -> None:
    def take_all() -> None:
        handshake = open_handshake(first, None)
        while handshake.next_event() is not NEED_DATA:
            pass

    with pytest.raises(ProtocolError) as caught:
        take_all()
    assert says in str(caught.value)
    assert "hunter2" not in str(caught.value)


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
        b"\x04\x03\x00\x50\x7f\x00\x00\x01\x00",
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
