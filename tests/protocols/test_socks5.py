"""SOCKS5, byte for byte (RFC 1928, RFC 1929)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from relay.address import Endpoint
from relay.events import DialFailure, FailureKind
from relay.protocols import Credentials, open_handshake

OutcomeOf = Callable[..., Any]
ALICE = Credentials("alice", "wönder")
GREETING = b"\x05\x01\x00"
CHOSEN = b"\x05\x00"
AUTH = b"\x01\x05alice\x07w\xc3\xb6nder"
TO_LOOPBACK = b"\x05\x01\x00\x01\x7f\x00\x00\x01\x00\x50"


def failure(code: int) -> bytes:
    return bytes((5, code)) + b"\x00\x01\x00\x00\x00\x00\x00\x00"


@pytest.mark.parametrize(
    ("request_bytes", "destination"),
    [
        (TO_LOOPBACK, "127.0.0.1:80"),
        (b"\x05\x01\xff\x01\xc0\x00\x02\x07\xff\xff", "192.0.2.7:65535"),
        (b"\x05\x01\x00\x03\x0bexample.org\x01\xbb", "example.org:443"),
        (b"\x05\x01\x00\x03\x01a\x00\x01", "a:1"),
        (b"\x05\x01\x00\x03\xff" + b"n" * 255 + b"\x00\x50", "n" * 255 + ":80"),
        (b"\x05\x01\x00\x03\x0fxn--bcher-kva.x\x00\x50", "xn--bcher-kva.x:80"),
        (b"\x05\x01\x00\x03\x09127.0.0.1\x00\x50", "127.0.0.1:80"),
        (b"\x05\x01\x00\x03\x03::1\x00\x50", "[::1]:80"),
        (b"\x05\x01\x00\x03\x05[::1]\x00\x50", "[::1]:80"),
        (b"\x05\x01\x00\x04\x20\x01\x0d\xb8" + bytes(11) + b"\x01\x00\x50", "[2001:db8::1]:80"),
    ],
)
def test_a_request_names_its_destination(request_bytes: bytes, destination: str, outcome_of: OutcomeOf) -> None:
    whole = GREETING + request_bytes + b"early"
    assert outcome_of(whole) == (CHOSEN, destination, "socks5", b"early", None)


@pytest.mark.parametrize(
    ("request_bytes", "question"),
    [
        (b"\x05\xf0\x00\x03\x06a.test\x00\x00", "address of a.test"),
        (b"\x05\xf0\x00\x03\x06a.test\x01\xbb", "address of a.test"),
        (b"\x05\xf0\x00\x01\x7f\x00\x00\x01\x00\x00", "address of 127.0.0.1"),
        (b"\x05\xf1\x00\x01\x7f\x00\x00\x01\x00\x00", "name of 127.0.0.1"),
        (b"\x05\xf1\x00\x04" + bytes(15) + b"\x01\x00\x00", "name of ::1"),
        (b"\x05\xf1\x00\x03\x09127.0.0.1\x00\x00", "name of 127.0.0.1"),
        (b"\x05\x02\x00\x01\xc0\x00\x02\x07\x00\x15", "from 192.0.2.7:21"),  # BIND
        (b"\x05\x02\x00\x03\x06a.test\x00\x00", "from a.test:0"),
        (b"\x05\x03\x00\x01\x00\x00\x00\x00\x00\x00", "datagrams from port 0"),  # UDP ASSOCIATE
        (b"\x05\x03\x00\x04" + bytes(16) + b"\xff\xff", "datagrams from port 65535"),
        (b"\x05\x03\x00\x03\x010\x12\x34", "datagrams from port 4660"),
    ],
)
def test_other_commands_ask_for_something_else(request_bytes: bytes, question: str, outcome_of: OutcomeOf) -> None:
    assert outcome_of(GREETING + request_bytes + b"more") == (CHOSEN, question, "socks5", b"more", None)


@pytest.mark.parametrize(
    ("request_bytes", "code"),
    [
        (b"\x05\x04\x00\x01\x7f\x00\x00\x01\x00\x50", 7),  # X'07': command not supported
        (b"\x05\x04\x00\x03\x01a\x00\x50", 7),
        (b"\x05\x00\x00\x01\x7f\x00\x00\x01\x00\x50", 7),
        (b"\x05\xf2\x00\x01\x7f\x00\x00\x01\x00\x50", 7),
        (b"\x05\xf1\x00\x03\x06a.test\x00\x00", 8),  # the name of a name
        (b"\x05\xf0\x00\x03\x00\x00\x00", 1),
        (b"\x05\x01\x00\x02\x7f", 8),
        (b"\x05\x01\x00\x00\x7f", 8),
        (b"\x05\x01\x00\x05\x7f", 8),
        (b"\x04\x01\x00\x01\x7f", 1),
        (b"\x05\x01\x00\x01\x7f\x00\x00\x01\x00\x00", 1),  # port 0
        (b"\x05\x01\x00\x03\x00\x00\x50", 1),  # an empty name
        (b"\x05\x01\x00\x03\x04caf\xe9\x00\x50", 1),  # latin-1
        (b"\x05\x01\x00\x03\x05caf\xc3\xa9\x00\x50", 1),  # UTF-8: not an A-label
        (b"\x05\x01\x00\x03\x03a\x00b\x00\x50", 1),
        (b"\x05\x01\x00\x03\x05[::1\x00\x00\x50", 1),
        (b"\x05\x01\x00\x03\x0afe80::1%\r\n\x00\x50", 1),
        (b"\x05\x01\x00\x03\x09fe80::1%\xff\x00\x50", 1),
    ],
)
def test_what_is_not_served_has_its_code(request_bytes: bytes, code: int, outcome_of: OutcomeOf) -> None:
    assert outcome_of(GREETING + request_bytes) == (CHOSEN, "", "socks5", b"", failure(code))


def test_a_refused_command_is_read_to_its_end_first(converse: OutcomeOf) -> None:
    assert converse([GREETING + b"\x05\x04\x00\x01\x7f\x00\x00\x01\x00"]).reply is None


@pytest.mark.parametrize(
    ("offered", "credentials", "answer", "refused"),
    [
        (b"\x00", None, b"\x05\x00", False),
        (b"\x02\x00", None, b"\x05\x00", False),
        (b"\x01\x02", None, b"\x05\x02", False),
        (b"\x01", None, b"\x05\xff", True),
        (b"", None, b"\x05\xff", True),
        (b"\x00\x02", ALICE, b"\x05\x02", False),
        (b"\x02", ALICE, b"\x05\x02", False),
        (b"\x00\x01", ALICE, b"\x05\xff", True),
        (b"", ALICE, b"\x05\xff", True),
        (bytes(range(255)), ALICE, b"\x05\x02", False),
    ],
)
def test_the_method_follows_from_the_credentials(
    offered: bytes, credentials: Credentials | None, answer: bytes, refused: bool, outcome_of: OutcomeOf
) -> None:
    outcome = outcome_of(bytes((5, len(offered))) + offered, credentials)
    assert (outcome.sent, outcome.reply) == ((b"", answer) if refused else (answer, None))


@pytest.mark.parametrize(
    ("auth", "right"),
    [
        (AUTH, True),
        (b"\x01\x05alice\x06w\xf6nder", False),  # latin-1
        (b"\x01\x05alice\x00", False),
        (b"\x01\x03bob\x07w\xc3\xb6nder", False),
        (b"\x01\x00\x00", False),
        (b"\x02\x05alice\x07w\xc3\xb6nder", False),
        (b"\x05\x01", False),  # the request, sent without authentication
    ],
)
def test_username_and_password_must_be_right(auth: bytes, right: bool, outcome_of: OutcomeOf) -> None:
    outcome = outcome_of(b"\x05\x01\x02" + auth + TO_LOOPBACK, ALICE)
    if right:
        assert outcome == (b"\x05\x02\x01\x00", "127.0.0.1:80", "socks5", b"", None)
    else:
        assert outcome == (b"\x05\x02", "", "socks5", b"", b"\x01\x01")


def test_right_credentials_open_no_door_for_wrong_ones(converse: OutcomeOf) -> None:
    assert converse([b"\x05\x01\x02", AUTH, TO_LOOPBACK], ALICE).destination == "127.0.0.1:80"
    assert converse([b"\x05\x01\x02", b"\x01\x05alice\x01x", TO_LOOPBACK], ALICE).reply == b"\x01\x01"
    assert converse([b"\x05\x01\x02", b"\x01\x05alice\x01x", AUTH, TO_LOOPBACK], ALICE).reply == b"\x01\x01"


@pytest.mark.parametrize(
    "auth", [b"\x01\x05alice\x01x", b"\x01\x00\x00", b"\x01\xff" + b"u" * 255 + b"\xff" + b"p" * 255]
)
def test_without_credentials_any_user_is_let_in(auth: bytes, outcome_of: OutcomeOf) -> None:
    assert outcome_of(b"\x05\x01\x02" + auth + TO_LOOPBACK) == (
        b"\x05\x02\x01\x00",
        "127.0.0.1:80",
        "socks5",
        b"",
        None,
    )


@pytest.mark.parametrize(
    ("bound", "reply"),
    [
        (Endpoint("192.0.2.7", 4660), b"\x05\x00\x00\x01\xc0\x00\x02\x07\x12\x34"),
        (Endpoint("2001:db8::1", 4660), b"\x05\x00\x00\x04\x20\x01\x0d\xb8" + bytes(11) + b"\x01\x12\x34"),
        (Endpoint("a.test", 0), b"\x05\x00\x00\x03\x06a.test\x00\x00"),
        (None, b"\x05\x00\x00\x01\x00\x00\x00\x00\x00\x00"),
    ],
)
def test_a_grant_carries_the_bound_address_or_the_answer(bound: Endpoint | None, reply: bytes) -> None:
    assert open_handshake(b"\x05", None).grant(bound) == reply


@pytest.mark.parametrize(
    ("kind", "code"),
    [
        (FailureKind.REFUSED, 5),
        (FailureKind.NETWORK_UNREACHABLE, 3),
        (FailureKind.HOST_UNREACHABLE, 4),
        (FailureKind.TIMED_OUT, 6),
        (FailureKind.NOT_RESOLVED, 4),
        (FailureKind.DENIED, 2),
        (FailureKind.EXHAUSTED, 1),
        (FailureKind.OTHER, 1),
    ],
)
def test_a_refusal_says_why(kind: FailureKind, code: int) -> None:
    assert open_handshake(b"\x05", None).refuse(DialFailure(kind)) == failure(code)


def test_every_kind_of_failure_has_a_code() -> None:
    for kind in FailureKind:
        assert len(open_handshake(b"\x05", None).refuse(DialFailure(kind))) == 10
