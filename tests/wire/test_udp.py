"""The NAT's UDP as a rule: datagrams in, steps and packets out."""

from __future__ import annotations

from relay.wire.mappings import Close, End, Open
from relay.wire.packet import ICMP, UDP, UDP_HEADER_BYTES, Udp, build_ipv4, parse_icmp, parse_ipv4, parse_udp, undotted
from relay.wire.udp import Packet, Send, UdpNat
from support.small_nat import ADDRESSES, datagram

SERVER, OTHER = undotted("192.0.2.7"), undotted("192.0.2.8")
GUEST = End(ADDRESSES.guest, 5000)


def nat(*, port_unreachable: bool = False, limit: int = 8) -> UdpNat:
    return UdpNat(idle_s=60.0, port_unreachable=port_unreachable, limit=limit)


def sent(packet: Packet | None) -> bytes:
    assert packet is not None
    source, destination, protocol, header, payload = packet
    return build_ipv4(source, destination, protocol, len(header) + len(payload), ttl=128) + header + payload


def test_one_socket_serves_an_end_whatever_it_sends_to() -> None:
    udp = nat()
    assert udp.on_datagram(*datagram(5000, SERVER, 53, b"one"), 0.0) == [Open(GUEST), Send(GUEST, SERVER, 53, b"one")]
    assert udp.on_datagram(*datagram(5000, OTHER, 99, b"two"), 1.0) == [Send(GUEST, OTHER, 99, b"two")]
    other = End(ADDRESSES.guest, 5001)
    assert udp.on_datagram(*datagram(5001, SERVER, 53, b""), 1.0) == [Open(other), Send(other, SERVER, 53, b"")]


def test_a_datagram_from_any_source_reaches_the_guest() -> None:
    udp = nat()
    udp.on_datagram(*datagram(5000, SERVER, 53, b"one"), 0.0)
    ip = parse_ipv4(memoryview(sent(udp.on_reply(GUEST, OTHER, 4711, b"unasked", 1.0))))
    assert ip is not None
    assert (ip.source, ip.destination, ip.protocol) == (OTHER, ADDRESSES.guest, UDP)
    assert parse_udp(ip) == Udp(4711, 5000, memoryview(b"unasked"))


def test_a_reply_keeps_the_mapping_and_after_its_end_is_dropped() -> None:
    udp = nat()
    udp.on_datagram(*datagram(5000, SERVER, 53, b""), 0.0)
    assert udp.on_reply(GUEST, SERVER, 53, b"", 50.0) is not None
    assert udp.next_deadline_s == 60.0
    assert udp.on_deadline(60.0) == []
    assert udp.on_deadline(120.0) == [Close(GUEST)]
    assert udp.on_reply(GUEST, SERVER, 53, b"late", 120.0) is None
    assert udp.on_datagram(*datagram(5000, SERVER, 53, b""), 121.0)[0] == Open(GUEST)


def test_the_ttl_and_the_mark_of_a_datagram_do_not_matter() -> None:
    udp = nat()
    assert udp.on_datagram(*datagram(5000, SERVER, 53, b"", ttl=1, tos=0x48), 0.0)[1:] == [Send(GUEST, SERVER, 53, b"")]


def test_port_0_is_dropped() -> None:
    udp = nat()
    assert udp.on_datagram(*datagram(0, SERVER, 53, b""), 0.0) == []
    assert udp.on_datagram(*datagram(5000, SERVER, 0, b""), 0.0) == []
    assert len(udp) == 0


def test_beyond_its_limit_the_one_that_was_idle_longest_makes_room() -> None:
    udp = nat(limit=1)
    udp.on_datagram(*datagram(5000, SERVER, 53, b""), 0.0)
    steps = udp.on_datagram(*datagram(5001, SERVER, 53, b""), 1.0)
    assert steps[:2] == [Close(GUEST), Open(End(ADDRESSES.guest, 5001))]


def test_an_end_whose_socket_could_not_be_opened_is_not_mapped() -> None:
    udp = nat()
    udp.on_datagram(*datagram(5000, SERVER, 53, b""), 0.0)
    udp.on_failed(GUEST)
    assert len(udp) == 0
    assert udp.on_datagram(*datagram(5000, SERVER, 53, b""), 1.0)[0] == Open(GUEST)


def test_a_refusal_is_port_unreachable_with_the_guest_s_own_datagram_quoted() -> None:
    """RFC 792: the internet header and the first 64 bits of the datagram."""
    ip = parse_ipv4(memoryview(sent(nat(port_unreachable=True).on_refused(GUEST, SERVER, 53, 30))))
    assert ip is not None
    assert (ip.source, ip.destination, ip.protocol) == (SERVER, ADDRESSES.guest, ICMP)
    message = parse_icmp(ip)
    assert message is not None
    assert message[:4] == (3, 3, 0, 0)
    quoted = message.payload
    assert len(quoted) == 28
    whole = parse_ipv4(memoryview(bytes(quoted) + bytes(30)))
    assert whole is not None
    assert (whole.source, whole.destination, whole.protocol) == (ADDRESSES.guest, SERVER, UDP)
    assert quoted[20:26] == (5000).to_bytes(2) + (53).to_bytes(2) + (30 + UDP_HEADER_BYTES).to_bytes(2)


def test_without_port_unreachable_the_guest_gets_no_error() -> None:
    assert nat().on_refused(GUEST, SERVER, 53, 30) is None
    assert nat(port_unreachable=True).on_refused(GUEST, SERVER, 53, 0xFFFF) is None
