"""SOCKS4 and SOCKS4a, byte for byte."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from relay.address import Endpoint
from relay.events import DialFailure, FailureKind
from relay.protocols import Credentials, open_handshake

OutcomeOf = Callable[..., Any]
REJECTED = b"\x00\x5b\x00\x00\x00\x00\x00\x00"
WRONG_USER = b"\x00\x5d\x00\x00\x00\x00\x00\x00"
HEADER = b"\x04\x01\x00\x50"
ALICE = Credentials("alice", "wonderland")


@pytest.mark.parametrize(
    ("request_bytes", "destination", "name"),
    [
        (HEADER + b"\x7f\x00\x00\x01\x00", "127.0.0.1:80", "socks4"),
        (HEADER + b"\x7f\x00\x00\x01anybody\x00", "127.0.0.1:80", "socks4"),
        (b"\x04\x01\xff\xff\xc0\x00\x02\x07\x00", "192.0.2.7:65535", "socks4"),
        (HEADER + b"\x00\x00\x00\x01\x00example.org\x00", "example.org:80", "socks4a"),
        (HEADER + b"\x00\x00\x00\xffbob\x00a_b.test.\x00", "a_b.test.:80", "socks4a"),
        (HEADER + b"\x00\x00\x00\x01\x00::1\x00", "[::1]:80", "socks4a"),
        (HEADER + b"\x00\x00\x00\x00\x00", "0.0.0.0:80", "socks4"),
        (HEADER + b"\x00\x00\x01\x00\x00", "0.0.1.0:80", "socks4"),
        (b"\x04\x02\x00\x15\x7f\x00\x00\x01\x00", "from 127.0.0.1:21 or the end", "socks4"),
        (b"\x04\x02\x00\x00\x00\x00\x00\x01\x00a.test\x00", "from a.test:0 or the end", "socks4a"),
    ],
)
def test_a_request_names_its_destination(
    request_bytes: bytes, destination: str, name: str, outcome_of: OutcomeOf
) -> None:
    assert outcome_of(request_bytes + b"early") == (b"", destination, name, b"early", None)


@pytest.mark.parametrize(
    ("request_bytes", "reply"),
    [
        (b"\x04\x03\x00\x50\x7f\x00\x00\x01\x00", REJECTED),
        (b"\x04\x00\x00\x50\x7f\x00\x00\x01\x00", REJECTED),
        (b"\x04\x01\x00\x00\x7f\x00\x00\x01\x00", REJECTED),  # port 0
        (HEADER + b"\x00\x00\x00\x01\x00\x00", REJECTED),  # an empty name
        (HEADER + b"\x00\x00\x00\x01\x00caf\xe9.test\x00", REJECTED),
        (HEADER + b"\x00\x00\x00\x01\x00a b\x00", REJECTED),
    ],
)
def test_what_is_not_served_is_rejected(request_bytes: bytes, reply: bytes, outcome_of: OutcomeOf) -> None:
    assert outcome_of(request_bytes).reply == reply


def test_strings_may_have_255_bytes_and_no_more(outcome_of: OutcomeOf, converse: OutcomeOf) -> None:
    name = (b"a" * 63 + b".") * 3 + b"b" * 63
    assert len(name) == 255
    start = HEADER + b"\x00\x00\x00\x01" + b"u" * 255 + b"\x00"
    assert outcome_of(start + name + b"\x00").destination == f"{name.decode()}:80"
    assert converse([start + name]).reply is None
    assert converse([start + name + b"b"]).reply == REJECTED
    assert converse([start + name + b"b\x00"]).reply == REJECTED
    assert converse([HEADER + b"\x7f\x00\x00\x01" + b"u" * 256]).reply == REJECTED
    assert converse([HEADER + b"\x7f\x00\x00\x01" + b"u" * 256 + b"\x00"]).reply == REJECTED


@pytest.mark.parametrize(
    ("user", "reply"), [(b"alice", None), (b"bob", WRONG_USER), (b"", WRONG_USER), (b"alic", WRONG_USER)]
)
def test_the_user_id_must_be_the_username_if_one_is_set(
    user: bytes, reply: bytes | None, outcome_of: OutcomeOf
) -> None:
    assert outcome_of(HEADER + b"\x7f\x00\x00\x01" + user + b"\x00", ALICE).reply == reply


@pytest.mark.parametrize(
    ("bound", "reply"),
    [
        (Endpoint("192.0.2.7", 4660), b"\x00\x5a\x12\x34\xc0\x00\x02\x07"),
        (Endpoint("2001:db8::1", 4660), b"\x00\x5a\x00\x00\x00\x00\x00\x00"),
        (Endpoint("a.test", 4660), b"\x00\x5a\x00\x00\x00\x00\x00\x00"),
        (None, b"\x00\x5a\x00\x00\x00\x00\x00\x00"),
    ],
)
def test_a_grant_carries_the_bound_address_if_it_is_ipv4(bound: Endpoint | None, reply: bytes) -> None:
    assert open_handshake(b"\x04", None).grant(bound) == reply


@pytest.mark.parametrize("kind", FailureKind)
def test_every_failure_is_the_same_rejection(kind: FailureKind) -> None:
    assert open_handshake(b"\x04", None).refuse(DialFailure(kind)) == REJECTED
