"""What a guest asks for and what name servers answer: DNS over UDP and TCP; and the guest's datagrams, in fragments.

A guest and a name server may send anything. A query is answered once, by its identifier, or not at all; what comes back
from a server passes as it came; and what a guest has only begun to send does not fill the memory.
"""

from __future__ import annotations

import dns.message

from fuzz.targets._api import cuts, target
from relay.address import Endpoint, ResolveOverride
from relay.wire.dns.forwarder import Ask, Asker, Forwarder, Tell
from relay.wire.dns.local import LocalNames, entries_in, entries_of
from relay.wire.dns.message import (
    PTR,
    UDP_BYTES,
    A,
    addresses_in,
    build_failure,
    build_reply,
    encode_name,
    is_reply,
    parse_query,
)
from relay.wire.dns.stream import Messages, framed
from relay.wire.fragments import MAX_DATAGRAMS, Fragments, cut
from relay.wire.icmp import IcmpNat, SendEcho
from relay.wire.packet import ICMP, UDP, build_icmp, build_ipv4, build_udp, parse_icmp, parse_ipv4, parse_udp, undotted
from relay.wire.udp import Send, UdpNat

_HOST = undotted("192.168.27.1")
_GUEST, _SERVER = undotted("192.168.27.128"), undotted("192.0.2.7")
_ASKER, _NAME_SERVER = Asker(_GUEST, 40_000), Endpoint("192.0.2.53", 53)
_NAMES = LocalNames(_HOST)
_NAMES.hosts = entries_in("127.0.0.1 box\n192.0.2.7 www.test\n2001:db8::7 www.test\n")
_NAMES.overrides = entries_of([ResolveOverride("api.test", 443, "127.0.0.1")])
_QUERY = dns.message.make_query("www.test", "A", id=1, use_edns=0).to_wire()
_REVERSE = dns.message.make_query("7.2.0.192.in-addr.arpa", "PTR", id=2).to_wire()
_OTHER = dns.message.make_query("other.test", "SRV", id=3).to_wire()


@target(
    framed(_QUERY),
    framed(_REVERSE),
    framed(_OTHER),
    framed(build_reply(_QUERY, A, [bytes(4)], UDP_BYTES)),
    framed(build_reply(_REVERSE, PTR, [encode_name("www.test") or b""], UDP_BYTES)),
    b"\xc0\x0c",
    b"\xff\xff",
    b"\x3f",
)
def fuzz_dns(data: bytes) -> str:
    """Messages behind their lengths: each one a query of the guest's, and what a server answers to the one before."""
    whole: list[bytes] = []
    for pieces in cuts(data):
        messages, found = Messages(), []
        for piece in pieces:
            messages.receive_data(piece)
            while (message := messages.next_message()) is not None:
                found.append(message)
        assert not whole or found == whole, "the cuts matter"
        whole = found
    forwarder = Forwarder(tries=1)
    outcomes: list[str] = []
    out: list[tuple[int, bytes]] = []
    for message in whole[:20]:
        for number, asked in out[-1:]:
            outcomes.append(_answer(forwarder, number, asked, message))
        outcomes.append(_ask(forwarder, message, out))
    for number, _ in out:
        forwarder.on_absent(number, _NAME_SERVER, 0.0)
    assert len(forwarder) == 0
    return " ".join(dict.fromkeys(outcomes))


def _ask(forwarder: Forwarder, message: bytes, out: list[tuple[int, bytes]]) -> str:
    query = parse_query(message)
    if query is None:
        return "no-query"
    assert is_reply(build_failure(message), message)
    values = _NAMES.answer(query.question) if query.question is not None else None
    if query.question is not None and values is not None:
        reply = build_reply(message, query.question.kind, values, UDP_BYTES)
        assert is_reply(reply, message)
        assert len(reply) <= UDP_BYTES
        assert len(list(addresses_in(reply))) == (0 if query.question.kind == PTR else len(values))
        return "answered-here"
    steps = forwarder.ask(_ASKER, message, [_NAME_SERVER], 0.0)
    out += [(step.number, message) for step in steps if isinstance(step, Ask)]
    return "asked" if steps else "asked-already"


def _answer(forwarder: Forwarder, number: int, asked: bytes, message: bytes) -> str:
    steps = forwarder.on_message(number, message)
    told = [step.message for step in steps if isinstance(step, Tell)]
    if not told:
        return "not-an-answer"
    assert told == [message]
    assert is_reply(message, asked)
    return "addresses" if list(addresses_in(message)) else "no-addresses"


def _datagram(payload: bytes, mtu: int) -> bytes:
    header = build_udp(_GUEST, _SERVER, 5000, 53, payload)
    return b"".join(
        framed(
            build_ipv4(_GUEST, _SERVER, UDP, len(part), ttl=64, ident=7, more_fragments=more, fragment_offset=at) + part
        )
        for at, more, part in cut((header, payload), mtu)
    )


_ECHO = build_icmp(8, 9, 7, 1, b"data") + b"data"


@target(
    _datagram(b"hello", 1500),
    _datagram(bytes(range(64)), 60),
    framed(build_ipv4(_GUEST, _SERVER, ICMP, len(_ECHO), ttl=64) + _ECHO),
    b"\x20\0",
    b"\xff\xff",
)
def fuzz_datagrams(data: bytes) -> str:
    """IP packets behind their lengths, as they come from a guest: UDP, ICMP, and fragments of both."""
    messages, fragments = Messages(), Fragments()
    udp_nat, icmp_nat = UdpNat(idle_s=60.0, port_unreachable=True, limit=4), IcmpNat(code="same", limit=4)
    messages.receive_data(data)
    outcomes = []
    while (message := messages.next_message()) is not None:
        ip = parse_ipv4(memoryview(message))
        if ip is not None and ip.is_fragment:
            ip = fragments.take(ip, 0.0)
            assert len(fragments) <= MAX_DATAGRAMS
        if ip is None:
            outcomes.append("not-whole")
        elif ip.protocol == UDP and (udp := parse_udp(ip)) is not None:
            sent = [step for step in udp_nat.on_datagram(ip, udp, 0.0) if isinstance(step, Send)]
            assert all(step.payload == udp.payload for step in sent)
            for step in sent:
                udp_nat.on_refused(step.end, step.destination, step.port, len(step.payload))
            outcomes.append("datagram" if sent else "no-port")
        elif ip.protocol == ICMP and (icmp := parse_icmp(ip)) is not None:
            icmp_nat.own_reply(ip, icmp)
            asked = [step for step in icmp_nat.on_message(ip, icmp, 0.0) if isinstance(step, SendEcho)]
            assert all(0 < step.ttl == ip.ttl - 1 for step in asked)
            outcomes.append("echo" if asked else "no-echo")
        else:
            outcomes.append("other")
        assert max(len(udp_nat), len(icmp_nat)) <= 4
    return " ".join(dict.fromkeys(outcomes))
