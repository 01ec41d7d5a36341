"""Packets that are made of what is known: their checksums are right, and the ends are those that they are between."""

from __future__ import annotations

import pytest

from relay.address import Endpoint
from relay.log.rebuilt_ip import ICMP, UDP, datagram
from relay.wire.packet import build_icmp, is_sound, parse_icmp, parse_ipv4, parse_udp

NEAR, FAR = Endpoint("198.51.100.5", 50_000), Endpoint("192.0.2.7", 53)
SIX = Endpoint("2001:db8::7", 53)


@pytest.mark.parametrize("payload", [b"", b"x", b"question", b"\xff" * 1001])
def test_a_datagram_is_sound_and_carries_what_it_was_given(payload: bytes) -> None:
    ip = parse_ipv4(memoryview(b"".join(datagram(UDP, NEAR, FAR, payload))))
    assert ip is not None
    assert is_sound(ip)
    udp = parse_udp(ip)
    assert udp is not None
    assert (udp.source_port, udp.destination_port, bytes(udp.payload)) == (50_000, 53, payload)


def test_an_icmp_message_is_as_it_was_sent() -> None:
    message = build_icmp(8, 0, 7, 1, b"data") + b"data"
    ip = parse_ipv4(memoryview(b"".join(datagram(ICMP, NEAR, FAR, message))))
    assert ip is not None
    icmp = parse_icmp(ip)
    assert icmp is not None
    assert (icmp.ident, bytes(icmp.payload)) == (7, b"data")


@pytest.mark.parametrize("near", [Endpoint("2001:db8::1", 50_000), NEAR])
def test_to_an_ipv6_address_it_is_an_ipv6_packet(near: Endpoint) -> None:
    header, udp, payload = map(bytes, datagram(UDP, near, SIX, b"question"))
    assert header[0] >> 4 == 6
    assert int.from_bytes(header[4:6]) == len(udp) + len(payload)
    pseudo = header[8:40] + (len(udp) + len(payload)).to_bytes(4) + (17).to_bytes(4)
    assert int.from_bytes(pseudo + udp + payload) % 0xFFFF == 0
