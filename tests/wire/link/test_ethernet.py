"""IP packets over a link that carries frames."""

from __future__ import annotations

import pytest

from relay.wire.addresses import addresses_in
from relay.wire.arp import REPLY, REQUEST, Arp, build_arp
from relay.wire.dhcp import DISCOVER, DhcpServer
from relay.wire.dhcp import REQUEST as DHCP_REQUEST
from relay.wire.frame import ARP, BROADCAST, IPV4, IPV6, build_frame, parse_frame
from relay.wire.link.ethernet import EthernetLink
from relay.wire.packet import UDP, Ipv4, build_ipv4, build_udp, dotted, parse_ipv4, parse_udp, undotted
from support.dhcp_client import message
from support.memory_link import MemoryLink

ADDRESSES = addresses_in("192.168.27.0/24")
SERVER = undotted("192.0.2.1")
GUEST_MAC, GATEWAY_MAC = bytes.fromhex("000c29000001"), bytes.fromhex("005056e00002")
HOST_MAC, DHCP_MAC = bytes.fromhex("005056c00008"), bytes.fromhex("005056f000fe")
QUESTION = build_frame(BROADCAST, GATEWAY_MAC, ARP) + build_arp(
    Arp(REQUEST, GATEWAY_MAC, ADDRESSES.gateway, bytes(6), ADDRESSES.guest)
)


def packet(
    payload: bytes = b"data", *, source: int = ADDRESSES.guest, destination: int = SERVER, port: int = 7
) -> bytes:
    header = build_udp(source, destination, 68 if port == 67 else 4711, port, payload)
    return build_ipv4(source, destination, UDP, len(header) + len(payload), ttl=64) + header + payload


def from_guest(data: bytes, *, to: bytes = GATEWAY_MAC, kind: int = IPV4) -> bytes:
    return build_frame(to, GUEST_MAC, kind) + data


@pytest.fixture
def cable() -> MemoryLink:
    return MemoryLink(ethernet=True, offload=True)


@pytest.fixture
def link(cable: MemoryLink) -> EthernetLink:
    return EthernetLink(cable, ADDRESSES)


def test_a_packet_comes_out_of_its_frame_and_others_do_not(cable: MemoryLink, link: EthernetLink) -> None:
    cable.arriving += [
        b"short",
        from_guest(packet(b"for another station"), to=bytes.fromhex("000c29000009")),
        from_guest(bytes(40), kind=IPV6, to=bytes.fromhex("333300000002")),
        from_guest(bytes(19)),
        from_guest(packet(b"ours")),
    ]
    received = link.receive()
    assert received is not None
    assert bytes(received) == packet(b"ours")
    assert link.receive() is None
    assert link.ignored == {IPV6: 1}


def test_an_arp_request_for_one_of_ours_is_answered(cable: MemoryLink, link: EthernetLink) -> None:
    asked = Arp(REQUEST, GUEST_MAC, ADDRESSES.guest, bytes(6), ADDRESSES.host)
    cable.arriving += [from_guest(build_arp(asked), to=BROADCAST, kind=ARP), from_guest(b"no ARP", kind=ARP)]
    assert link.receive() is None
    answer = Arp(REPLY, HOST_MAC, ADDRESSES.host, GUEST_MAC, ADDRESSES.guest)
    assert cable.sent == [build_frame(GUEST_MAC, HOST_MAC, ARP) + build_arp(answer)]


def test_a_packet_goes_to_the_station_that_the_guest_was_heard_from(cable: MemoryLink, link: EthernetLink) -> None:
    cable.arriving.append(from_guest(packet()))
    link.receive()
    for source, mac in ((SERVER, GATEWAY_MAC), (ADDRESSES.host, HOST_MAC)):
        reply = packet(source=source, destination=ADDRESSES.guest)
        assert link.send((reply[:20], reply[20:28], reply[28:]), 1460)
        assert cable.take_sent() == [build_frame(GUEST_MAC, mac, IPV4) + reply]
    assert cable.cuts == [1460, 1460]


def test_a_packet_to_a_guest_that_was_never_heard_waits_for_its_station(cable: MemoryLink, link: EthernetLink) -> None:
    early = packet(b"early", source=SERVER, destination=ADDRESSES.guest)
    assert link.send((early,))
    assert cable.take_sent() == [QUESTION]
    late = packet(b"late", source=SERVER, destination=ADDRESSES.guest)
    assert link.send((late[:20], late[20:]))
    assert cable.take_sent() == [QUESTION]
    assert link.dropped == 1, "one waits, the latest"
    reply = Arp(REPLY, GUEST_MAC, ADDRESSES.guest, GATEWAY_MAC, ADDRESSES.gateway)
    cable.arriving.append(from_guest(build_arp(reply), kind=ARP))
    assert link.receive() is None
    assert cable.take_sent() == [build_frame(GUEST_MAC, GATEWAY_MAC, IPV4) + late]


def test_a_segment_that_waits_keeps_its_cut_and_its_headers_apart(cable: MemoryLink, link: EthernetLink) -> None:
    parts = (build_ipv4(SERVER, ADDRESSES.guest, 6, 24 + 3000, ttl=64), bytes(12) + b"\x60" + bytes(11), bytes(3000))
    link.send(parts, 1460)
    cable.take_sent()
    cable.arriving.append(from_guest(packet()))
    link.receive()
    assert (cable.sizes[-1], cable.cuts[-1]) == ([14, 44, 3000], 1460)


def test_packets_that_wait_are_bounded(cable: MemoryLink, link: EthernetLink) -> None:
    for number in range(100):
        link.send((packet(source=SERVER, destination=ADDRESSES.network + 100 + number),))
    assert (len(link._waiting), link.dropped) == (64, 36)


def test_a_guest_is_given_its_address_and_reached_there_at_once(cable: MemoryLink) -> None:
    link = EthernetLink(cable, ADDRESSES, dhcp=DhcpServer(ADDRESSES), now_s=lambda: 0.0)
    for data in (message(DISCOVER, flags=0x8000), message(DHCP_REQUEST, o50=ADDRESSES.guest)):
        asked = packet(data, source=0, destination=0xFFFFFFFF, port=67)
        cable.arriving.append(build_frame(BROADCAST, GUEST_MAC, IPV4) + asked)
    assert link.receive() is None
    replies = [parse_frame(memoryview(frame)) for frame in cable.take_sent()]
    found = []
    for reply in replies:
        assert reply is not None
        ip = parse_ipv4(reply.payload)
        assert isinstance(ip, Ipv4)
        udp = parse_udp(ip)
        assert udp is not None
        assert udp[:2] == (67, 68)
        assert (reply.source, ip.source) == (DHCP_MAC, ADDRESSES.dhcp)
        found.append((reply.destination, dotted(ip.destination), udp.payload[242]))
    assert found == [(BROADCAST, "255.255.255.255", 2), (GUEST_MAC, "192.168.27.128", 5)]
    link.send((packet(source=SERVER, destination=ADDRESSES.guest),))
    assert cable.sent[0][:14] == build_frame(GUEST_MAC, GATEWAY_MAC, IPV4), "without an ARP request"


@pytest.mark.parametrize("port", [67, 68])
def test_what_no_dhcp_server_takes_is_a_packet_like_any_other(cable: MemoryLink, port: int) -> None:
    asked = packet(message(DISCOVER), source=0, destination=0xFFFFFFFF, port=port)
    for dhcp in (None, DhcpServer(ADDRESSES)):
        link = EthernetLink(cable, ADDRESSES, dhcp=dhcp)
        cable.arriving.append(build_frame(BROADCAST, GUEST_MAC, IPV4) + asked)
        assert (link.receive() is None) is (dhcp is not None and port == 67)


def test_it_is_a_link_like_the_one_below(cable: MemoryLink, link: EthernetLink) -> None:
    assert (link.name, link.mtu, link.ethernet, link.offload, link.vouched) == ("memory", 1500, False, True, False)
    cable.vouched = True
    assert link.vouched
    link.close()
    assert cable.is_closed
