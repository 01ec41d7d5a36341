"""DHCP: a guest's messages in, the server's out, on a clock that is an argument."""

from __future__ import annotations

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay.wire.addresses import addresses_in
from relay.wire.dhcp import (
    ACK,
    DECLINE,
    DISCOVER,
    INFORM,
    NAK,
    OFFER,
    RELEASE,
    REQUEST,
    DhcpServer,
    Reply,
    parse_message,
)
from relay.wire.packet import dotted, undotted
from support.dhcp_client import COOKIE, mac, message

ADDRESSES = addresses_in("192.168.27.0/24")
ANYONE = 0xFFFFFFFF
FIRST, SECOND = ADDRESSES.guest, ADDRESSES.guest + 1
ELSEWHERE = undotted("10.0.0.5")


def read(reply: Reply | None) -> tuple[int, str, dict[int, bytes]]:
    """The kind, the guest's address and the options of a reply."""
    assert reply is not None
    assert len(reply.payload) >= 300
    op, hardware, length, _, _, _, _, _, yours = struct.unpack_from(">BBBBIHHII", reply.payload)
    assert (op, hardware, length, reply.payload[236:240]) == (2, 1, 6, COOKIE)
    options, at = {}, 240
    while reply.payload[at] != 255:
        size = reply.payload[at + 1]
        options[reply.payload[at]] = reply.payload[at + 2 : at + 2 + size]
        at += 2 + size
    return options[53][0], dotted(yours), options


def ask(server: DhcpServer, data: bytes, now_s: float = 0.0) -> tuple[int, str] | None:
    reply = server.answer(data, now_s)
    return read(reply)[:2] if reply is not None else None


def lease(server: DhcpServer, guest: int, now_s: float = 0.0) -> str:
    """The address that a guest has in the end."""
    offered = ask(server, message(DISCOVER, guest), now_s)
    assert offered is not None
    assert offered[0] == OFFER
    asked = message(REQUEST, guest, o50=undotted(offered[1]), o54=ADDRESSES.dhcp)
    assert ask(server, asked, now_s) == (ACK, offered[1])
    return offered[1]


@pytest.fixture
def server() -> DhcpServer:
    return DhcpServer(ADDRESSES)


def test_an_offer_has_what_a_guest_needs(server: DhcpServer) -> None:
    kind, address, options = read(server.answer(message(DISCOVER), 0.0))
    assert (kind, address) == (OFFER, "192.168.27.128")
    assert {number: value for number, value in options.items() if len(value) == 4 and number < 51} == {
        1: bytes((255, 255, 255, 0)),
        3: bytes((192, 168, 27, 2)),
        6: bytes((192, 168, 27, 2)),
        28: bytes((192, 168, 27, 255)),
        44: bytes((192, 168, 27, 2)),
    }
    assert options[15] == b"localdomain"
    assert options[54] == bytes((192, 168, 27, 254))
    assert [int.from_bytes(options[number]) for number in (51, 58, 59)] == [1800, 900, 1575]


def test_the_first_guest_has_the_usual_address_and_the_next_the_next(server: DhcpServer) -> None:
    assert [lease(server, guest) for guest in (1, 2, 3)] == ["192.168.27.128", "192.168.27.129", "192.168.27.130"]


def test_a_guest_that_comes_again_has_the_address_that_it_had(server: DhcpServer) -> None:
    lease(server, 1)
    lease(server, 2)
    assert lease(server, 1, now_s=1e6) == "192.168.27.128"


def test_a_guest_is_known_by_its_identifier_before_its_station(server: DhcpServer) -> None:
    first = ask(server, message(DISCOVER, 1, o61=b"\xffone"))
    assert ask(server, message(DISCOVER, 2, o61=b"\xffone")) == first
    assert ask(server, message(DISCOVER, 1, o61=b"\xfftwo")) != first


def test_an_offer_that_is_not_taken_is_free_again_after_a_while(server: DhcpServer) -> None:
    ask(server, message(DISCOVER, 1))
    wanted = message(REQUEST, 2, o50=FIRST)
    assert ask(server, wanted, 59.0) == (NAK, "0.0.0.0")
    assert ask(server, wanted, 61.0) == (ACK, "192.168.27.128")


def test_an_offer_does_not_shorten_a_lease(server: DhcpServer) -> None:
    lease(server, 1)
    ask(server, message(DISCOVER, 1), 1.0)
    assert ask(server, message(REQUEST, 2, o50=FIRST), 100.0) == (NAK, "0.0.0.0")


@pytest.mark.parametrize(
    ("wished_s", "granted_s"), [(None, 1800), (600, 600), (7200, 7200), (86400, 7200), (0xFFFFFFFF, 7200)]
)
def test_a_guest_may_wish_for_a_lease_of_up_to_two_hours(
    server: DhcpServer, wished_s: int | None, granted_s: int
) -> None:
    wish = {} if wished_s is None else {"o51": wished_s}
    reply = server.answer(message(REQUEST, o50=FIRST, **wish), 0.0)
    assert int.from_bytes(read(reply)[2][51]) == granted_s
    assert ask(server, message(REQUEST, 2, o50=FIRST), granted_s - 0.5) == (NAK, "0.0.0.0")
    assert ask(server, message(REQUEST, 2, o50=FIRST), granted_s + 0.5) == (ACK, "192.168.27.128")


def test_a_guest_gets_the_address_that_it_asks_for_if_it_is_free(server: DhcpServer) -> None:
    assert ask(server, message(DISCOVER, 1, o50=SECOND)) == (OFFER, "192.168.27.129")
    assert ask(server, message(DISCOVER, 2, o50=SECOND)) == (OFFER, "192.168.27.128")
    assert ask(server, message(DISCOVER, 3, o50=ELSEWHERE)) == (OFFER, "192.168.27.130")


def test_a_guest_that_this_server_has_never_seen_keeps_its_address(server: DhcpServer) -> None:
    """INIT-REBOOT and RENEWING of RFC 2131, after the relay was restarted."""
    assert ask(server, message(REQUEST, 1, o50=SECOND)) == (ACK, "192.168.27.129")
    assert ask(server, message(REQUEST, 2, address=FIRST)) == (ACK, "192.168.27.128")


@pytest.mark.parametrize("wanted", [ELSEWHERE, ADDRESSES.gateway, ADDRESSES.dhcp, ADDRESSES.broadcast, 0])
def test_an_address_that_no_guest_can_have_is_refused(server: DhcpServer, wanted: int) -> None:
    assert ask(server, message(REQUEST, o50=wanted)) == (NAK, "0.0.0.0")


def test_a_guest_that_took_another_server_s_offer_is_left_alone(server: DhcpServer) -> None:
    assert ask(server, message(REQUEST, o50=FIRST, o54=ADDRESSES.dhcp - 1)) is None


def test_a_guest_that_moves_frees_its_old_address(server: DhcpServer) -> None:
    lease(server, 1)
    assert ask(server, message(REQUEST, 1, o50=SECOND)) == (ACK, "192.168.27.129")
    assert ask(server, message(REQUEST, 2, o50=FIRST), 0.1) == (ACK, "192.168.27.128")


def test_an_address_that_is_released_is_free_at_once(server: DhcpServer) -> None:
    lease(server, 1)
    assert ask(server, message(RELEASE, 2, address=FIRST)) is None, "it is not that guest's to release"
    assert ask(server, message(REQUEST, 2, o50=FIRST)) == (NAK, "0.0.0.0")
    assert ask(server, message(RELEASE, 1, address=FIRST)) is None
    assert ask(server, message(REQUEST, 2, o50=FIRST)) == (ACK, "192.168.27.128")


def test_an_address_that_is_in_use_already_rests(server: DhcpServer) -> None:
    lease(server, 1)
    assert ask(server, message(DECLINE, 1, o50=FIRST)) is None
    assert lease(server, 1, 1.0) == "192.168.27.129"
    assert ask(server, message(REQUEST, 2, o50=FIRST), 599.0) == (NAK, "0.0.0.0")
    assert ask(server, message(REQUEST, 2, o50=FIRST), 601.0) == (ACK, "192.168.27.128")
    assert ask(server, message(DECLINE, 2), 602.0) is None, "it does not say which"


def test_a_guest_with_an_address_of_its_own_is_given_the_rest(server: DhcpServer) -> None:
    reply = server.answer(message(INFORM, address=undotted("192.168.27.5")), 0.0)
    kind, address, options = read(reply)
    assert reply is not None
    assert (kind, address, reply.destination, reply.leased) == (ACK, "0.0.0.0", undotted("192.168.27.5"), 0)
    assert options[3] == bytes((192, 168, 27, 2))
    assert 51 not in options
    assert server.answer(message(INFORM), 0.0) is None


def test_when_no_address_is_left_there_is_silence_until_one_is(server: DhcpServer) -> None:
    leased = {lease(server, guest, guest) for guest in range(126)}
    assert len(leased) == 126
    assert ask(server, message(DISCOVER, 1000), 200.0) is None
    assert ask(server, message(DISCOVER, 1000), 1801.0) == (OFFER, "192.168.27.128"), "free for longest"


@pytest.mark.parametrize(
    ("kind", "address", "flags", "destination"),
    [
        (DISCOVER, 0, 0, FIRST),
        (DISCOVER, 0, 0x8000, ANYONE),
        (REQUEST, FIRST, 0, FIRST),
        (REQUEST, FIRST, 0x8000, FIRST),
        (REQUEST, ELSEWHERE, 0, ANYONE),
    ],
    ids=["by its station", "broadcast", "renewing", "renewing still", "refused"],
)
def test_a_reply_goes_where_the_guest_can_take_it(
    server: DhcpServer, kind: int, address: int, flags: int, destination: int
) -> None:
    reply = server.answer(message(kind, address=address, flags=flags), 0.0)
    assert reply is not None
    assert (dotted(reply.destination), reply.mac) == (dotted(destination), mac(1))


def test_a_lease_says_which_address_the_guest_has(server: DhcpServer) -> None:
    offer, ack = server.answer(message(DISCOVER), 0.0), server.answer(message(REQUEST, o50=FIRST), 0.0)
    assert offer is not None
    assert ack is not None
    assert (offer.leased, ack.leased) == (0, FIRST)


@pytest.mark.parametrize(
    "changed",
    [{0: 2}, {1: 6}, {2: 8}, {236: 0}, {242: 0x99}, {27: 1}, {242: 5}, {241: 2}],
    ids=[
        "a reply",
        "no Ethernet",
        "long addresses",
        "BOOTP",
        "unknown kind",
        "through a relay",
        "a server's",
        "cut off",
    ],
)
def test_what_is_no_client_s_message_is_not_answered(server: DhcpServer, changed: dict[int, int]) -> None:
    data = bytearray(message(DISCOVER))
    for at, value in changed.items():
        data[at] = value
    assert server.answer(bytes(data), 0.0) is None


def test_a_message_that_is_cut_off_anywhere_is_no_message_or_a_shorter_one() -> None:
    whole = message(DISCOVER, o50=FIRST, o61=b"client")
    assert [parse_message(whole[:size]) for size in range(243)] == [None] * 243
    assert parse_message(whole[:243]) == parse_message(message(DISCOVER))


def test_options_may_be_padded_and_come_in_pieces() -> None:
    data = (
        message(DISCOVER).removesuffix(b"\xff") + b"\0\0" + bytes((61, 2)) + b"on" + bytes((61, 1)) + b"e\xff\x3d\x01x"
    )
    parsed = parse_message(data)
    assert parsed is not None
    assert parsed.client == b"one"
    assert parsed.number(61) is None


@given(st.binary(max_size=80), st.integers(0, 400), st.integers(0, 255))
def test_no_message_makes_it_raise(options: bytes, at: int, value: int) -> None:
    server = DhcpServer(ADDRESSES)
    data = bytearray(message(REQUEST)[:240] + bytes((53, 1, value)) + options)
    data[at % len(data)] = value
    for now_s in (0.0, 1.0):
        server.answer(bytes(data), now_s)
    server.answer(options, 2.0)


@given(
    st.lists(
        st.tuples(
            st.sampled_from([DISCOVER, REQUEST, DECLINE, RELEASE, INFORM]),
            st.integers(0, 5),
            st.integers(0, 255),
            st.integers(0, 3000),
        ),
        max_size=40,
    )
)
def test_no_two_guests_have_an_address_at_once(steps: list[tuple[int, int, int, int]]) -> None:
    server = DhcpServer(ADDRESSES)
    holders: dict[int, tuple[int, float]] = {}
    now_s = 0.0
    for kind, guest, low, wait_s in steps:
        now_s += wait_s
        address = ADDRESSES.network + low
        reply = server.answer(message(kind, guest, address=address, o50=address), now_s)
        if kind in (RELEASE, DECLINE) and holders.get(address, (None, 0.0))[0] == guest:
            del holders[address]
        if reply is not None and reply.leased:
            holder, until_s = holders.get(reply.leased, (guest, 0.0))
            assert holder == guest or until_s <= now_s
            holders = {leased: kept for leased, kept in holders.items() if kept[0] != guest}
            holders[reply.leased] = guest, now_s + 1800
    assert len(server._leases) <= 126
