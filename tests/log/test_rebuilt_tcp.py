"""Rebuilt TCP: addresses, sequence numbers and checksums, by the IP and TCP of another module."""

from __future__ import annotations

import struct

from relay.address import Endpoint
from relay.log.pcapng import Buffer
from relay.log.rebuilt_tcp import ACK, FIN, MOST_BYTES, PSH, RST, SYN, RebuiltTcp
from relay.wire.packet import Ipv4, dotted, is_sound, parse_ipv4

APP, SERVER = Endpoint("192.168.0.2", 40_000), Endpoint("192.0.2.7", 22)


def read(parts: list[Buffer]) -> tuple[Ipv4, tuple[int, ...]]:
    """The IP packet, and of its TCP the ports, seq, ack and flags."""
    ip = parse_ipv4(memoryview(b"".join(parts)))
    assert ip is not None
    assert is_sound(ip)
    source_port, port, seq, ack, _, flags = struct.unpack_from(">HHIIBB", ip.payload)
    return ip, (source_port, port, seq, ack, flags)


def test_each_direction_has_its_ends() -> None:
    tcp = RebuiltTcp(APP, SERVER)
    ip, (source_port, port, *_) = read(tcp.segment(True, SYN)[0])
    assert (dotted(ip.source), source_port, dotted(ip.destination), port) == (*APP, *SERVER)
    ip, (source_port, port, *_) = read(tcp.segment(False, SYN)[0])
    assert (dotted(ip.source), source_port, dotted(ip.destination), port) == (*SERVER, *APP)


def test_sequence_numbers_count_syn_fin_and_every_byte() -> None:
    tcp = RebuiltTcp(APP, SERVER)
    told = [
        read(tcp.segment(outward, flags, payload)[0])[1][2:]
        for outward, flags, payload in (
            (True, SYN, b""),
            (False, SYN, b""),
            (True, 0, b""),
            (True, PSH, b"hello"),
            (False, PSH, b"you"),
            (True, FIN, b""),
            (False, FIN, b""),
            (True, RST, b""),
        )
    ]
    assert told == [
        (0, 0, SYN),
        (0, 1, SYN | ACK),
        (1, 1, ACK),
        (1, 1, PSH | ACK),
        (1, 6, PSH | ACK),
        (6, 4, FIN | ACK),
        (4, 7, FIN | ACK),
        (7, 5, RST | ACK),
    ]


def test_of_many_bytes_that_are_not_known_the_end_is_one_segment() -> None:
    tcp = RebuiltTcp(APP, SERVER)
    tcp.segment(True, SYN)
    parts, missing_bytes = tcp.segment(True, PSH, missing_bytes=1_000_000)
    ip_header = bytes(parts[0])
    assert missing_bytes == MOST_BYTES
    assert int.from_bytes(ip_header[2:4]) == sum(map(len, parts)) + missing_bytes
    assert int.from_bytes(bytes(parts[1])[4:8]) == 1 + 1_000_000 - MOST_BYTES
    assert read(tcp.segment(True, 0)[0])[1][2] == 1_000_001


def test_a_keepalive_probe_begins_one_byte_back() -> None:
    tcp = RebuiltTcp(APP, SERVER)
    for outward in (True, False):
        tcp.segment(outward, SYN)
    assert read(tcp.segment(True, 0, back_bytes=1)[0])[1][2:] == (0, 1, ACK)
    assert read(tcp.segment(True, 0)[0])[1][2:] == (1, 1, ACK)


def test_the_tos_byte_is_in_the_header_of_either_version() -> None:
    assert read(RebuiltTcp(APP, SERVER).segment(True, SYN, tos=0x48)[0])[0].tos == 0x48
    six = RebuiltTcp(Endpoint("2001:db8::2", 1), Endpoint("2001:db8::7", 2))
    first = struct.unpack_from(">I", six.segment(True, SYN, tos=0x48)[0][0])[0]
    assert (first >> 28, first >> 20 & 0xFF) == (6, 0x48)


def test_an_ipv4_end_of_an_ipv6_connection_is_mapped_and_a_name_is_nowhere() -> None:
    header = bytes(RebuiltTcp(APP, Endpoint("2001:db8::7", 2)).segment(True, SYN)[0][0])
    assert header[8:24] == b"\0" * 10 + b"\xff\xff" + bytes([192, 168, 0, 2])
    ip, _ = read(RebuiltTcp(APP, Endpoint("server.test", 22)).segment(True, SYN)[0])
    assert dotted(ip.destination) == "0.0.0.0"
