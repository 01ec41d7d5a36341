"""DNS messages: read and built as dnspython does; what is mangled is no question and has no addresses."""

from __future__ import annotations

import random
import struct

import dns.flags
import dns.message
import dns.opcode
import dns.rcode
import dns.rrset
import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay.wire.dns.message import (
    AAAA,
    PTR,
    UDP_BYTES,
    A,
    Query,
    Question,
    addresses_in,
    build_failure,
    build_reply,
    encode_name,
    is_reply,
    parse_query,
)
from support.mangling import MANGLED, mangled


def asked(name: str, kind: str = "A", **options: object) -> bytes:
    query = dns.message.make_query(name, kind, id=0x1234, **options)  # type: ignore[arg-type]
    return query.to_wire()


def replied(*rrsets: str, question: str = "www.test. IN A") -> bytes:
    name, of_class, kind = question.split()
    response = dns.message.make_response(dns.message.make_query(name, kind, of_class, id=0x1234))
    for rrset in rrsets:
        owner, ttl, rdclass, rdtype, data = rrset.split(maxsplit=4)
        response.answer.append(dns.rrset.from_text(owner, int(ttl), rdclass, rdtype, data))
    return response.to_wire()


@pytest.mark.parametrize("kind", ["A", "AAAA", "PTR", "TXT", "SRV", "TYPE65"])
def test_a_query_s_question_is_its_name_in_lower_case_and_its_type(kind: str) -> None:
    query = parse_query(asked("WWW.Example.ORG", kind))
    assert query is not None
    assert query == Query(0x1234, Question("www.example.org", dns.rdatatype.from_text(kind)))


def test_edns_and_other_options_do_not_matter() -> None:
    plain = Query(0x1234, Question("www.test", A))
    assert parse_query(asked("www.test", use_edns=0, payload=4096, want_dnssec=True)) == plain


def test_the_root_has_an_empty_name() -> None:
    assert parse_query(asked(".", "NS")) == Query(0x1234, Question("", 2))


@pytest.mark.parametrize(
    "message",
    [
        asked("www.test", "A", rdclass="CH"),
        asked("www.test")[:-5] + b"\xc0\x0c\0\1\0\1",
        asked("www.test")[:4] + b"\0\2" + asked("www.test")[6:],
        asked("www.test")[:4] + b"\0\0" + asked("www.test")[6:],
        asked("www.test")[:20],
        asked("www.test")[:12],
        asked("www.test")[:2] + b"\x28\0" + asked("www.test")[4:],  # an update
        struct.pack(">6H", 0x1234, 0, 1, 0, 0, 0) + b"\x40" + b"x" * 100,
    ],
    ids=["another class", "a pointer", "two", "none", "cut off", "header alone", "no query", "a label too long"],
)
def test_what_is_not_one_plain_question_is_still_a_query(message: bytes) -> None:
    assert parse_query(message) == Query(0x1234, None)


@pytest.mark.parametrize("message", [b"", b"x" * 11, replied()])
def test_what_is_no_query_is_none(message: bytes) -> None:
    assert parse_query(message) is None


def test_a_reply_is_to_the_query_of_its_identifier() -> None:
    query = asked("www.test")
    assert is_reply(replied(), query)
    assert not is_reply(query, query)
    assert not is_reply(b"\0\0" + replied()[2:], query)
    assert not is_reply(replied()[:11], query)


@pytest.mark.parametrize(
    ("kind", "name", "values", "texts"),
    [
        (A, "A", [bytes([192, 0, 2, 7]), bytes([192, 0, 2, 8])], ["192.0.2.7", "192.0.2.8"]),
        (AAAA, "AAAA", [b"\x20\x01\x0d\xb8" + bytes(11) + b"\7"], ["2001:db8::7"]),
        (PTR, "PTR", [encode_name("www.test") or b""], ["www.test."]),
        (A, "A", [], []),
    ],
)
def test_a_reply_of_our_own_is_a_whole_one(kind: int, name: str, values: list[bytes], texts: list[str]) -> None:
    query = asked("WwW.tEsT", name, use_edns=0)
    reply = dns.message.from_wire(build_reply(query, kind, values, UDP_BYTES))
    assert reply.rcode() == dns.rcode.NOERROR
    assert dns.flags.to_text(reply.flags) == "QR RD RA"
    assert [rdata.to_text() for rrset in reply.answer for rdata in rrset] == texts
    assert [(rrset.name.to_text(), rrset.ttl) for rrset in reply.answer] == [("WwW.tEsT.", 0)] * bool(texts)
    assert reply.question[0].name.to_text() == "WwW.tEsT."


def test_a_reply_that_is_too_long_is_truncated() -> None:
    values = [bytes([10, 0, 0, number]) for number in range(40)]
    reply = dns.message.from_wire(build_reply(asked("www.test"), A, values, UDP_BYTES))
    assert reply.flags & dns.flags.TC
    assert reply.answer == []
    whole = dns.message.from_wire(build_reply(asked("www.test"), A, values, 0xFFFF))
    assert len(whole.answer[0]) == 40


@pytest.mark.parametrize("query", [asked("www.test", "SRV"), asked("www.test")[:20], asked("www.test")[:12]])
def test_a_failure_says_so_to_any_query(query: bytes) -> None:
    reply = build_failure(query)
    assert is_reply(reply, query)
    assert dns.message.from_wire(reply).rcode() == dns.rcode.SERVFAIL
    assert dns.flags.to_text(dns.message.from_wire(reply).flags) == "QR RD RA"


def test_a_failure_keeps_what_was_asked() -> None:
    reply = dns.message.from_wire(build_failure(asked("www.test", "SRV")))
    assert reply.question == dns.message.from_wire(asked("www.test", "SRV")).question


def test_addresses_have_the_name_that_was_asked_for_also_behind_aliases() -> None:
    reply = replied(
        "www.test. 60 IN CNAME host.cdn.test.", "host.cdn.test. 60 IN A 192.0.2.7", "x. 1 IN AAAA 2001:db8::7"
    )
    assert list(addresses_in(reply)) == [("192.0.2.7", "www.test"), ("2001:db8::7", "www.test")]


def test_other_records_have_no_addresses() -> None:
    assert list(addresses_in(replied("www.test. 60 IN TXT abcd"))) == []
    assert list(addresses_in(replied("www.test. 60 CH TXT abcd", question="www.test. CH A"))) == []
    assert list(addresses_in(replied())) == []
    assert list(addresses_in(b"")) == []


@pytest.mark.parametrize(
    ("name", "encoded"),
    [
        ("www.test", b"\3www\4test\0"),
        ("x" * 63, b"\x3f" + b"x" * 63 + b"\0"),
        ("x" * 64, None),
        ("a..b", None),
        ("", None),
        ("\u00fc.test", None),
        (".".join(["x" * 60] * 5), None),
    ],
)
def test_a_name_is_encoded_if_it_can_be(name: str, encoded: bytes | None) -> None:
    assert encode_name(name) == encoded


@given(st.binary(max_size=64))
def test_any_bytes_are_read_without_an_error(data: bytes) -> None:
    read(data)
    read(asked("www.test")[:12] + data)
    read(replied()[:6] + b"\xff\xff" + replied()[8:] + data)


@pytest.mark.soak
def test_mangled_messages_are_read_without_an_error() -> None:
    chance = random.Random(20261129)  # noqa: S311 - to be repeatable
    whole = [
        asked("www.test", use_edns=0),
        replied("www.test. 60 IN CNAME host.cdn.test.", "host.cdn.test. 60 IN A 192.0.2.7"),
        replied("www.test. 60 IN AAAA 2001:db8::7", question="www.test. IN AAAA"),
        build_reply(asked("7.2.0.192.in-addr.arpa", "PTR"), PTR, [encode_name("www.test") or b""], UDP_BYTES),
    ]
    for _ in range(MANGLED):
        read(mangled(chance, chance.choice(whole)))


def read(data: bytes) -> None:
    """All that a name server does with a message."""
    if len(data) >= 12:
        list(addresses_in(data))
    if (query := parse_query(data)) is not None:
        assert is_reply(build_failure(data), data)
        if query.question is not None:
            reply = build_reply(data, A, [bytes(4)], UDP_BYTES)
            assert is_reply(reply, data)
            assert parse_query(reply) is None
            dns.message.from_wire(reply)
