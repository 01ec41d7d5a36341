"""What a guest puts on the wire below TCP: Ethernet frames with ARP and DHCP in them, and QEMU's stream of frames.

A guest may send anything. What it is answered is well formed, is from one of the NAT's own addresses, and gives a guest
no address that is the NAT's or another's; and no guest fills the memory.
"""

from __future__ import annotations

import socket
from functools import cache

from fuzz.targets._api import cuts, target
from relay.wire.addresses import addresses_in
from relay.wire.arp import REPLY, REQUEST, Arp, build_arp, parse_arp, vmware_macs
from relay.wire.dhcp import DECLINE, DISCOVER, INFORM, RELEASE, DhcpServer
from relay.wire.dhcp import REQUEST as DHCP_REQUEST
from relay.wire.frame import ARP, BROADCAST, HEADER_BYTES, IPV4, IPV6, build_frame, parse_frame
from relay.wire.link.ethernet import EthernetLink
from relay.wire.link.stream import _Guest
from relay.wire.packet import (
    ICMP,
    UDP,
    build_icmp,
    build_ipv4,
    build_udp,
    is_sound,
    parse_icmp,
    parse_ipv4,
    parse_udp,
)
from support.dhcp_client import message
from support.memory_link import MemoryLink

ADDRESSES = addresses_in("192.168.27.0/24")
_MACS = vmware_macs(ADDRESSES)
GUEST_MAC = bytes.fromhex("000c29000001")


def framed(frame: bytes) -> bytes:
    """A frame as `frames` reads it."""
    return len(frame).to_bytes(2) + frame


def arp_frame(operation: int, sender: int, asked: int) -> bytes:
    """An ARP packet of a guest's."""
    packet = build_arp(Arp(operation, GUEST_MAC, sender, bytes(6), asked))
    return build_frame(BROADCAST, GUEST_MAC, ARP) + packet


def dhcp_frame(data: bytes) -> bytes:
    """A message of a guest's without an address, in a packet with the right checksums."""
    header = build_udp(0, 0xFFFFFFFF, 68, 67, data)
    packet = build_ipv4(0, 0xFFFFFFFF, UDP, len(header) + len(data), ttl=64) + header + data
    return build_frame(BROADCAST, GUEST_MAC, IPV4) + packet


@target(
    *map(
        framed,
        (
            arp_frame(REQUEST, ADDRESSES.guest, ADDRESSES.gateway),
            arp_frame(REQUEST, 0, ADDRESSES.guest),
            arp_frame(REPLY, ADDRESSES.guest, ADDRESSES.gateway),
            dhcp_frame(message(DISCOVER)),
            dhcp_frame(message(DHCP_REQUEST, o50=ADDRESSES.guest)),
            dhcp_frame(message(INFORM, address=ADDRESSES.guest)),
            dhcp_frame(message(DECLINE, o50=ADDRESSES.guest)),
            dhcp_frame(message(RELEASE, address=ADDRESSES.guest)),
            build_frame(BROADCAST, GUEST_MAC, IPV6) + bytes(40),
        ),
    )
)
def fuzz_frames(data: bytes) -> str:
    """Frames, each behind its length in two bytes."""
    cable = MemoryLink(ethernet=True)
    link = EthernetLink(cable, ADDRESSES, dhcp=DhcpServer(ADDRESSES), now_s=lambda: 0.0)
    rest = data
    while rest:
        length = int.from_bytes(rest[:2])
        cable.arriving.append(rest[2 : 2 + length])
        rest = rest[2 + length :]
    passed = 0
    while (packet := link.receive()) is not None:
        passed += 1
        assert len(packet) >= 20
        link.send((bytes(packet[:12]) + bytes(packet[16:20]) + bytes(packet[12:16]) + bytes(packet[20:]),))
    answers = [_answered(frame) for frame in cable.sent]
    assert len(link._waiting) <= 64
    assert len(link._stations._learnt) <= 253
    return " ".join(sorted({*answers, "packet"} if passed else set(answers))) or "nothing"


def _answered(sent: bytes) -> str:
    """What kind of frame this is; it must be a sound one."""
    frame = parse_frame(memoryview(sent))
    assert frame is not None
    assert frame.source in _MACS.values()
    if frame.kind == ARP:
        arp = parse_arp(frame.payload)
        assert arp is not None
        assert arp.sender_mac == frame.source == _MACS[arp.sender]
        return "arp" if arp.operation == REPLY else "question"
    assert frame.kind == IPV4
    ip = parse_ipv4(frame.payload)
    udp = parse_udp(ip) if ip is not None and ip.protocol == UDP and not ip.is_fragment else None
    if ip is None or udp is None or udp[:2] != (67, 68) or ip.source != ADDRESSES.dhcp:
        return "sent back"
    address = int.from_bytes(udp.payload[16:20])
    assert address == 0 or ADDRESSES.guest <= address < ADDRESSES.dhcp
    return "dhcp " + {2: "offer", 5: "ack", 6: "nak"}[udp.payload[242]]


_UDP_PACKET = build_ipv4(1, 2, UDP, 12, ttl=64) + build_udp(1, 2, 3, 4, b"data") + b"data"
_ICMP_PACKET = build_ipv4(1, 2, 1, 12, ttl=64) + build_icmp(8, 0, 1, 1, b"data") + b"data"


@target(_UDP_PACKET, _ICMP_PACKET, build_ipv4(1, 2, 6, 20, ttl=64) + bytes(20))
def fuzz_packet(data: bytes) -> str:
    """An IP packet: what is read lies within it, and is written as it was read."""
    ip = parse_ipv4(memoryview(data))
    if ip is None:
        return "malformed"
    header_bytes = (data[0] & 15) * 4
    assert data[header_bytes : header_bytes + len(ip.payload)] == bytes(ip.payload)
    if header_bytes == 20 and not data[6] & 0x80:  # without options, and the one bit that means nothing
        again = build_ipv4(
            *ip[:3],
            len(ip.payload),
            ttl=ip.ttl,
            tos=ip.tos,
            ident=ip.ident,
            dont_fragment=ip.dont_fragment,
            more_fragments=ip.more_fragments,
            fragment_offset=ip.fragment_offset,
        )
        assert again[:10] + again[12:] == data[:10] + data[12:20]
    is_whole = not ip.is_fragment
    udp = parse_udp(ip) if ip.protocol == UDP and is_whole else None
    icmp = parse_icmp(ip) if ip.protocol == ICMP and is_whole else None
    if udp is not None:
        assert is_sound(ip)
        assert len(udp.payload) <= len(ip.payload) - 8
    return "udp" if udp is not None else "icmp" if icmp is not None else "other"


@cache
def _pair() -> tuple[socket.socket, socket.socket]:
    ends = socket.socketpair()
    for end in ends:
        end.setblocking(False)
    return ends


class _NoEngine:
    """What is read by hand needs no edges."""

    def rearm_read(self, watcher: object) -> None: ...


def _streamed(frame: bytes) -> bytes:
    return len(frame).to_bytes(4) + frame


@target(_streamed(bytes(14)), _streamed(bytes(range(60))), bytes((0, 1, 0, 13)), bytes((0, 0, 0, 13)), bytes(4))
def fuzz_frame_stream(data: bytes) -> str:
    """QEMU's stream: the same frames however it is cut, up to the first length that no frame has."""
    expected, at = [], 0
    is_over = False
    while at + 4 <= len(data):
        length = int.from_bytes(data[at : at + 4])
        if not HEADER_BYTES <= length <= HEADER_BYTES + 65535:
            is_over = True
            break
        if at + 4 + length > len(data):
            break
        expected.append(data[at + 4 : at + 4 + length])
        at += 4 + length
    for pieces in cuts(data):
        near, far = _pair()
        guest = _Guest(_NoEngine(), near, lambda: None)  # type: ignore[arg-type]
        found: list[bytes] = []
        for piece in pieces:
            if guest.is_over:
                break
            far.send(piece)
            while (frame := guest.next_frame()) is not None:
                found.append(bytes(frame))
        assert (found, guest.is_over) == (expected, is_over)
        while guest.is_over and _has_more(near):
            pass
    return f"{'over' if is_over else 'open'} {'frames' if expected else 'none'}"


def _has_more(sock: socket.socket) -> bool:
    try:
        return bool(sock.recv(1 << 20))
    except BlockingIOError:
        return False
