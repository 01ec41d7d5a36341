"""The NAT's ICMP as a rule: messages in, steps and packets out."""

from __future__ import annotations

import pytest

from relay.wire.icmp import IDLE_S, IcmpNat, SendEcho
from relay.wire.mappings import Close, End, Open
from relay.wire.packet import ICMP, Icmp, build_ipv4, parse_icmp, parse_ipv4, undotted
from relay.wire.udp import Packet
from support.small_nat import ADDRESSES, message

SERVER, OTHER = undotted("192.0.2.7"), undotted("192.0.2.8")
GUEST = End(ADDRESSES.guest, 7)


def read(packet: Packet | None) -> tuple[int, int, Icmp]:
    """Where it comes from and goes to, and the message."""
    assert packet is not None
    source, destination, protocol, header, payload = packet
    assert protocol == ICMP
    whole = build_ipv4(source, destination, protocol, len(header) + len(payload), ttl=128) + header + payload
    ip = parse_ipv4(memoryview(whole))
    assert ip is not None
    icmp = parse_icmp(ip)
    assert icmp is not None
    return source, destination, icmp


def test_each_identifier_has_a_socket_whatever_it_asks() -> None:
    nat = IcmpNat(code="zero")
    assert nat.on_message(*message(SERVER, b"data", sequence=3), 0.0) == [
        Open(GUEST),
        SendEcho(GUEST, SERVER, 63, 3, b"data"),
    ]
    assert nat.on_message(*message(OTHER, sequence=4), 1.0) == [SendEcho(GUEST, OTHER, 63, 4, b"")]
    other = End(ADDRESSES.guest, 8)
    assert nat.on_message(*message(SERVER, ident=8), 1.0)[0] == Open(other)


def test_a_reply_has_the_guest_s_identifier_and_what_the_host_answered() -> None:
    nat = IcmpNat(code="zero")
    nat.on_message(*message(SERVER, b"data", sequence=3), 0.0)
    assert read(nat.on_reply(GUEST, SERVER, 3, b"answer", 0.1)) == (
        SERVER,
        ADDRESSES.guest,
        Icmp(0, 0, 7, 3, memoryview(b"answer")),
    )


@pytest.mark.parametrize(("setting", "code"), [("same", 9), ("zero", 0)])
def test_the_code_of_a_reply_is_the_request_s_or_zero(setting: str, code: int) -> None:
    """nmap's IE probe has code 9; VMware's NAT answers it with code 0."""
    nat = IcmpNat(code=setting)
    assert read(nat.own_reply(*message(SERVER, code=9)))[2].code == code
    nat.on_message(*message(SERVER, code=9), 0.0)
    assert read(nat.on_reply(GUEST, SERVER, 1, b"", 0.1))[2].code == code
    nat.on_message(*message(SERVER, code=0), 0.0)
    assert read(nat.on_reply(GUEST, SERVER, 1, b"", 0.1))[2].code == 0


@pytest.mark.parametrize("ttl", [0, 1])
def test_a_request_whose_ttl_ends_here_goes_no_further(ttl: int) -> None:
    assert IcmpNat(code="zero").on_message(*message(SERVER, ttl=ttl), 0.0) == []


@pytest.mark.parametrize("kind", [0, 3, 5, 11, 13, 17])
def test_other_messages_are_dropped(kind: int) -> None:
    nat = IcmpNat(code="zero")
    assert nat.on_message(*message(SERVER, kind=kind), 0.0) == []
    assert nat.own_reply(*message(ADDRESSES.gateway, kind=kind)) is None
    assert len(nat) == 0


def test_the_nat_answers_for_itself() -> None:
    source, destination, icmp = read(IcmpNat(code="zero").own_reply(*message(ADDRESSES.gateway, b"data", sequence=3)))
    assert (source, destination, icmp) == (ADDRESSES.gateway, ADDRESSES.guest, Icmp(0, 0, 7, 3, memoryview(b"data")))


def test_after_the_end_of_a_mapping_a_reply_is_dropped() -> None:
    nat = IcmpNat(code="same")
    nat.on_message(*message(SERVER, code=9), 0.0)
    assert nat.next_deadline_s == IDLE_S
    assert nat.on_deadline(IDLE_S) == [Close(GUEST)]
    assert nat.on_reply(GUEST, SERVER, 1, b"", IDLE_S) is None
    assert nat._codes == {}


def test_beyond_its_limit_the_one_that_was_idle_longest_makes_room() -> None:
    nat = IcmpNat(code="same", limit=1)
    nat.on_message(*message(SERVER, code=9), 0.0)
    assert nat.on_message(*message(SERVER, ident=8), 1.0)[:2] == [Close(GUEST), Open(End(ADDRESSES.guest, 8))]
    assert nat._codes == {}


def test_an_end_whose_socket_could_not_be_opened_is_not_mapped() -> None:
    nat = IcmpNat(code="same")
    nat.on_message(*message(SERVER, code=9), 0.0)
    nat.on_failed(GUEST)
    assert (len(nat), nat._codes) == (0, {})
