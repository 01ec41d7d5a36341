"""Mangled Ethernet, ARP and DHCP: no exception, no answer that is not the NAT's to give, and no memory that fills."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable
from random import Random

import pytest

from fuzz.targets.frames import ADDRESSES, GUEST_MAC, arp_frame, dhcp_frame, framed, fuzz_frames
from relay.wire.arp import REPLY, REQUEST
from relay.wire.dhcp import DECLINE, DISCOVER, INFORM, RELEASE
from relay.wire.dhcp import REQUEST as DHCP_REQUEST
from relay.wire.frame import BROADCAST, IPV4, build_frame
from relay.wire.packet import TCP, build_ipv4
from relay.wire.segment import SYN, Segment, build_segment
from support.dhcp_client import message
from support.mangling import MANGLED, mangled

AT_ONCE = 50
"""Frames that one link gets."""
SEGMENT = build_segment(40_000, 22, Segment(1, 0, SYN, 64_240, mss=1460))
PACKET = build_ipv4(ADDRESSES.guest, ADDRESSES.host, TCP, len(SEGMENT), ttl=64) + SEGMENT
FRAMES = (
    build_frame(BROADCAST, GUEST_MAC, IPV4) + PACKET,
    arp_frame(REQUEST, ADDRESSES.guest, ADDRESSES.gateway),
    dhcp_frame(message(DISCOVER)),
)
ARPS = (
    arp_frame(REQUEST, ADDRESSES.guest, ADDRESSES.gateway),
    arp_frame(REQUEST, 0, ADDRESSES.guest),
    arp_frame(REPLY, ADDRESSES.guest, ADDRESSES.gateway),
)
MESSAGES = (
    message(DISCOVER, o55=bytes((1, 3, 6, 15, 28))),
    message(DHCP_REQUEST, o50=ADDRESSES.guest, o54=ADDRESSES.dhcp, o12=b"guest"),
    message(DHCP_REQUEST, address=ADDRESSES.guest, o61=b"\1someone"),
    message(INFORM, address=ADDRESSES.guest),
    message(DECLINE, o50=ADDRESSES.guest),
    message(RELEASE, address=ADDRESSES.guest),
)


def an_ethernet_frame(chance: Random) -> bytes:
    return mangled(chance, chance.choice(FRAMES))


def an_arp_packet(chance: Random) -> bytes:
    frame = chance.choice(ARPS)
    return frame[:14] + mangled(chance, frame[14:])


def a_dhcp_message(chance: Random) -> bytes:
    """In a packet whose checksums are right, so that the server gets it."""
    return dhcp_frame(mangled(chance, chance.choice(MESSAGES)))


@pytest.mark.soak
@pytest.mark.timeout(600)
@pytest.mark.parametrize(
    ("one", "answered"),
    [
        (an_ethernet_frame, ["arp", "dhcp offer", "packet"]),
        (an_arp_packet, ["arp"]),
        (a_dhcp_message, ["dhcp offer", "dhcp ack", "dhcp nak"]),
    ],
    ids=["ethernet", "arp", "dhcp"],
)
def test_no_frame_breaks_a_promise(one: Callable[[Random], bytes], answered: list[str]) -> None:
    chance = random.Random(20261129)  # noqa: S311 - to be repeated
    outcomes = Counter[str]()
    for _ in range(MANGLED // AT_ONCE):
        data = b"".join(framed(one(chance)) for _ in range(AT_ONCE))
        try:
            outcomes[fuzz_frames(data)] += 1
        except Exception as fault:
            fault.add_note(f"frames: {data.hex()}")
            raise
    assert [kind for kind in answered if not any(kind in outcome for outcome in outcomes)] == []
