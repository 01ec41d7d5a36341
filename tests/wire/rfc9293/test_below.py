"""RFC 9293 section 3.9.2: what TCP says to IP, and what IP and ICMP say to TCP."""

from __future__ import annotations

import pytest

from relay.stack import Stack
from relay.wire.ends import Ends
from relay.wire.icmp import IcmpNat
from relay.wire.packet import parse_ipv4, undotted
from relay.wire.segment import ACK, Segment
from relay.wire.transmitter import Transmitter
from support.memory_link import MemoryLink
from support.small_nat import message

ENDS = Ends(undotted("192.168.150.128"), 40_000, undotted("192.0.2.7"), 80)


@pytest.mark.parametrize(("ttl", "dont_fragment"), [(64, True), (128, False)])
def test_must_48_49_shld_21_22_23_the_ttl_is_a_setting_and_the_tos_byte_zero(ttl: int, dont_fragment: bool) -> None:
    link = MemoryLink()
    transmitter = Transmitter(link, Stack(ttl=ttl, dont_fragment=dont_fragment))
    transmitter.send_segment(ENDS, Segment(1, 2, ACK, 3))
    ip = parse_ipv4(memoryview(link.sent[0]))
    assert ip is not None
    assert (ip.ttl, ip.dont_fragment, ip.tos) == (ttl, dont_fragment, 0)


@pytest.mark.parametrize("kind", [3, 4, 11, 12])
def test_must_54_55_56_shld_25_26_icmp_errors_of_the_guests_move_nothing(kind: int) -> None:
    ip, icmp = message(ENDS.address)
    nat = IcmpNat(code="same")
    assert nat.on_message(ip, icmp._replace(kind=kind), 0.0) == []
    assert len(nat) == 0
