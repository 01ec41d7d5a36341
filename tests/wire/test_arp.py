"""ARP: which requests are answered, and which stations are remembered."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay.wire.addresses import addresses_in
from relay.wire.arp import REPLY, REQUEST, Arp, Stations, build_arp, parse_arp, vmware_macs
from relay.wire.frame import BROADCAST
from relay.wire.packet import undotted

ADDRESSES = addresses_in("192.168.27.0/24")
GUEST_MAC, OTHER_MAC, GATEWAY_MAC = (bytes.fromhex(each) for each in ("000c29000001", "000c29000002", "005056e00002"))
NO_MAC = bytes(6)


@pytest.fixture
def stations() -> Stations:
    return Stations(ADDRESSES, vmware_macs(ADDRESSES))


def request(target: int, sender: int = ADDRESSES.guest) -> Arp:
    return Arp(REQUEST, GUEST_MAC, sender, NO_MAC, target)


@given(st.integers(0, 0xFFFF), st.integers(0, 0xFFFFFFFF), st.binary(max_size=18))
def test_what_is_built_is_read_back(operation: int, address: int, padding: bytes) -> None:
    arp = Arp(operation, GUEST_MAC, address, OTHER_MAC, address ^ 1)
    assert parse_arp(memoryview(build_arp(arp) + padding)) == arp


def test_a_packet_as_a_kernel_sends_it_is_read() -> None:
    packet = bytes.fromhex("0001080006040001000c29000001c0a81b80000000000000c0a81b02") + bytes(18)
    assert parse_arp(memoryview(packet)) == request(ADDRESSES.gateway)


@given(st.binary(max_size=40))
def test_no_bytes_make_the_parser_raise(data: bytes) -> None:
    parse_arp(memoryview(data))


@pytest.mark.parametrize(("at", "value"), [(1, 6), (3, 6), (4, 8), (5, 16)])
def test_other_networks_addresses_are_none(at: int, value: int) -> None:
    packet = bytearray(build_arp(request(ADDRESSES.gateway)))
    packet[at] = value
    assert parse_arp(memoryview(packet)) is None


@pytest.mark.parametrize(
    ("address", "mac"),
    [
        (ADDRESSES.gateway, "005056e00002"),
        (ADDRESSES.host, "005056c00008"),
        (ADDRESSES.dhcp, "005056f000fe"),
    ],
)
def test_a_request_for_one_of_ours_is_answered(stations: Stations, address: int, mac: str) -> None:
    expected = Arp(REPLY, bytes.fromhex(mac), address, GUEST_MAC, ADDRESSES.guest)
    assert stations.answer(request(address)) == expected


def test_a_probe_for_one_of_ours_is_answered(stations: Stations) -> None:
    """RFC 5227: a guest that is about to take the gateway's address asks first, from no address."""
    reply = stations.answer(request(ADDRESSES.gateway, sender=0))
    assert reply is not None
    assert (reply.sender, reply.target) == (ADDRESSES.gateway, 0)


@pytest.mark.parametrize(
    "arp",
    [
        request(ADDRESSES.guest),
        request(undotted("192.168.27.5")),
        request(undotted("192.0.2.1")),
        request(ADDRESSES.gateway)._replace(operation=REPLY),
        request(ADDRESSES.gateway, sender=ADDRESSES.gateway),
    ],
    ids=["the guest's own", "another guest's", "elsewhere", "no request", "an announcement"],
)
def test_nothing_else_is_answered(stations: Stations, arp: Arp) -> None:
    assert stations.answer(arp) is None


def test_a_guest_s_station_is_learnt_and_may_change(stations: Stations) -> None:
    assert stations.mac_of(ADDRESSES.guest) is None
    assert stations.learn(ADDRESSES.guest, GUEST_MAC)
    assert not stations.learn(ADDRESSES.guest, GUEST_MAC), "that is no news"
    assert stations.mac_of(ADDRESSES.guest) == GUEST_MAC
    assert stations.learn(ADDRESSES.guest, OTHER_MAC)
    assert stations.mac_of(ADDRESSES.guest) == OTHER_MAC


@pytest.mark.parametrize(
    ("address", "mac"),
    [
        (ADDRESSES.gateway, GUEST_MAC),
        (ADDRESSES.host, GUEST_MAC),
        (ADDRESSES.network, GUEST_MAC),
        (ADDRESSES.broadcast, GUEST_MAC),
        (0, GUEST_MAC),
        (undotted("192.0.2.1"), GUEST_MAC),
        (ADDRESSES.guest, GATEWAY_MAC),
        (ADDRESSES.guest, BROADCAST),
        (ADDRESSES.guest, NO_MAC),
    ],
)
def test_what_cannot_be_a_guest_s_is_not_learnt(stations: Stations, address: int, mac: bytes) -> None:
    assert not stations.learn(address, mac)
    assert stations.mac_of(address) in {None, BROADCAST}


def test_a_broadcast_goes_to_all(stations: Stations) -> None:
    assert stations.mac_of(ADDRESSES.broadcast) == stations.mac_of(0xFFFFFFFF) == BROADCAST


def test_a_guest_that_claims_a_whole_network_fills_no_memory() -> None:
    large = addresses_in("10.0.0.0/8")
    stations = Stations(large, vmware_macs(large))
    for number in range(300, 6000):
        stations.learn(large.network + number, GUEST_MAC)
    assert len(stations._learnt) == 4096
    assert stations.mac_of(large.network + 5999) == GUEST_MAC
    assert stations.mac_of(large.network + 300) is None


def test_what_lies_beyond_comes_from_the_gateway_s_station(stations: Stations) -> None:
    assert stations.own_mac(undotted("192.0.2.1")) == GATEWAY_MAC
    assert stations.own_mac(ADDRESSES.host) == bytes.fromhex("005056c00008")
    assert stations.question(ADDRESSES.guest) == Arp(REQUEST, GATEWAY_MAC, ADDRESSES.gateway, NO_MAC, ADDRESSES.guest)


def test_only_frames_for_us_or_for_all_are_ours(stations: Stations) -> None:
    assert stations.is_for_us(GATEWAY_MAC)
    assert stations.is_for_us(BROADCAST)
    assert not stations.is_for_us(OTHER_MAC)
