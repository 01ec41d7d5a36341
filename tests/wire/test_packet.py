"""IPv4, UDP and ICMP headers, against bytes from real captures and against sums made word by word."""

from __future__ import annotations

import struct
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay.wire.packet import (
    ICMP,
    TCP,
    UDP,
    Icmp,
    Ipv4,
    Udp,
    build_icmp,
    build_ipv4,
    build_udp,
    checksum,
    dotted,
    is_sound,
    parse_icmp,
    parse_ipv4,
    parse_udp,
    partial_checksum,
    pseudo_sum,
    tcp_checksum,
    undotted,
)

HEADER = bytes.fromhex("45000073000040004011b861c0a80001c0a800c7")  # a well-known one, checksum 0xb861
GUEST, SERVER = undotted("192.168.27.128"), undotted("192.0.2.1")

addresses = st.integers(0, 0xFFFFFFFF)
payloads = st.binary(max_size=64)


def word_by_word(data: bytes) -> int:
    """RFC 1071 section 4.1, as it stands there."""
    total = 0
    for at in range(0, len(data) - 1, 2):
        total += data[at] << 8 | data[at + 1]
    if len(data) & 1:
        total += data[-1] << 8
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF


def packet(protocol: int, *parts: bytes, **fields: Any) -> Ipv4:
    """The packet of these parts, from the guest to the server, read back."""
    payload = b"".join(parts)
    header = build_ipv4(GUEST, SERVER, protocol, len(payload), ttl=64, **fields)
    parsed = parse_ipv4(memoryview(header + payload))
    assert parsed is not None
    return parsed


def test_a_header_is_read_field_by_field() -> None:
    ip = parse_ipv4(memoryview(HEADER + bytes(0x73 - 20)))
    assert ip is not None
    assert (dotted(ip.source), dotted(ip.destination)) == ("192.168.0.1", "192.168.0.199")
    assert ip[2:9] == (17, 64, 0, 0, True, False, 0)
    assert (len(ip.payload), ip.is_fragment) == (0x73 - 20, False)


def test_a_header_is_written_as_it_was_read() -> None:
    source, destination = undotted("192.168.0.1"), undotted("192.168.0.199")
    assert build_ipv4(source, destination, UDP, 0x73 - 20, ttl=64, dont_fragment=True) == HEADER


@given(
    source=addresses,
    destination=addresses,
    protocol=st.integers(0, 255),
    ttl=st.integers(0, 255),
    tos=st.integers(0, 255),
    ident=st.integers(0, 0xFFFF),
    dont_fragment=st.booleans(),
    more_fragments=st.booleans(),
    eighths=st.integers(0, 0x1FFF),
    payload=payloads,
)
def test_what_is_built_is_read_back(
    source: int,
    destination: int,
    protocol: int,
    ttl: int,
    tos: int,
    ident: int,
    dont_fragment: bool,
    more_fragments: bool,
    eighths: int,
    payload: bytes,
) -> None:
    header = build_ipv4(
        source,
        destination,
        protocol,
        len(payload),
        ttl=ttl,
        tos=tos,
        ident=ident,
        dont_fragment=dont_fragment,
        more_fragments=more_fragments,
        fragment_offset=eighths * 8,
    )
    assert word_by_word(header) == 0
    offset, view = eighths * 8, memoryview(payload)
    expected = Ipv4(source, destination, protocol, ttl, tos, ident, dont_fragment, more_fragments, offset, view)
    assert parse_ipv4(memoryview(header + payload)) == expected


def test_options_are_skipped_and_padding_is_left_out() -> None:
    header = bytearray(HEADER + b"\x01\x01\x01\x00")  # three NOPs and the end
    header[0], header[2:4], header[10:12] = 0x46, (26).to_bytes(2), b"\0\0"
    header[10:12] = checksum(header).to_bytes(2)
    ip = parse_ipv4(memoryview(bytes(header) + b"hi" + bytes(20)))
    assert ip is not None
    assert bytes(ip.payload) == b"hi"


@pytest.mark.parametrize(
    "changed",
    [{0: 0x65}, {0: 0x44}, {0: 0x4F, 3: 0x3B}, {2: 0xFF}, {3: 0x13}],
    ids=["IPv6", "header too short", "header longer than the packet", "cut off", "packet shorter than its header"],
)
def test_a_malformed_header_is_none(changed: dict[int, int]) -> None:
    data = bytearray(HEADER + bytes(0x73 - 20))
    for at, value in changed.items():
        data[at] = value
    data[10:12] = b"\0\0"  # a right checksum, so that it is not what the parser stumbles over
    data[10:12] = checksum(data[: max((data[0] & 15) * 4, 20)]).to_bytes(2)
    assert parse_ipv4(memoryview(data)) is None


@pytest.mark.parametrize("at", range(20))
def test_a_header_with_a_flipped_bit_is_none(at: int) -> None:
    data = bytearray(HEADER + bytes(0x73 - 20))
    data[at] ^= 0x10
    assert parse_ipv4(memoryview(data)) is None


@given(st.binary(max_size=80))
def test_no_bytes_make_a_parser_raise(data: bytes) -> None:
    parse_ipv4(memoryview(data))
    for protocol in (ICMP, TCP, UDP, 47):
        ip = packet(protocol, data)
        is_sound(ip)
        parse_udp(ip)
        parse_icmp(ip)


@given(st.lists(payloads, max_size=5), st.integers(0, 1 << 20))
def test_the_checksum_is_that_of_the_words_one_by_one(parts: list[bytes], start: int) -> None:
    assert checksum(*parts) == word_by_word(b"".join(parts))
    words = bytes(sum(map(len, parts)) % 2) + start.to_bytes(4)  # `start` behind the last word
    assert checksum(*parts, start=start) == word_by_word(b"".join(parts) + words)


def test_a_sum_of_zero_is_distinguished_from_one_of_ones() -> None:
    assert checksum(b"\0\0") == 0xFFFF
    assert checksum(b"\xff\xff") == 0
    assert checksum() == 0xFFFF


@given(payloads, addresses, addresses)
def test_a_segment_with_the_right_checksum_is_sound(payload: bytes, source: int, destination: int) -> None:
    header = bytearray(20)
    header[16:18] = tcp_checksum(source, destination, bytes(header), payload).to_bytes(2)
    ip = Ipv4(source, destination, TCP, 64, 0, 0, True, False, 0, memoryview(bytes(header) + payload))
    assert is_sound(ip)
    header[4] ^= 1
    assert not is_sound(ip._replace(payload=memoryview(bytes(header) + payload)))


@given(payloads, addresses, addresses)
def test_a_partial_checksum_is_completed_by_a_sum_over_the_segment_with_it(
    payload: bytes, source: int, destination: int
) -> None:
    header = bytearray(20)
    header[16:18] = partial_checksum(source, destination, TCP, 20 + len(payload)).to_bytes(2)
    assert checksum(header, payload) in (
        complete := tcp_checksum(source, destination, bytes(20), payload),
        complete ^ 0xFFFF if complete in (0, 0xFFFF) else complete,
    )


@given(payloads, st.integers(0, 0xFFFF), st.integers(0, 0xFFFF))
def test_a_datagram_is_read_back(payload: bytes, source_port: int, destination_port: int) -> None:
    header = build_udp(GUEST, SERVER, source_port, destination_port, payload)
    pseudo = struct.pack(">IIBBH", GUEST, SERVER, 0, UDP, 8 + len(payload))
    assert word_by_word(pseudo + header + payload) == 0
    assert header[6:8] != b"\0\0"
    ip = packet(UDP, header, payload)
    assert parse_udp(ip) == Udp(source_port, destination_port, memoryview(payload))


def test_a_checksum_of_zero_is_sent_as_ones() -> None:
    """RFC 768: a field of zero says that there is none."""
    missing = -pseudo_sum(GUEST, SERVER, UDP, 10) - 10  # what the data must add for a sum of ones
    payload = (missing % 0xFFFF).to_bytes(2)
    assert build_udp(GUEST, SERVER, 0, 0, payload)[6:8] == b"\xff\xff"


def test_a_datagram_may_do_without_a_checksum() -> None:
    ip = packet(UDP, struct.pack(">HHHH", 1, 2, 8, 0))
    assert is_sound(ip)
    assert parse_udp(ip) == Udp(1, 2, memoryview(b""))


@pytest.mark.parametrize("length", [0, 7, 10])
def test_a_datagram_with_a_wrong_length_is_none(length: int) -> None:
    assert parse_udp(packet(UDP, struct.pack(">HHHH", 1, 2, length, 0), b"x")) is None


def test_what_lies_behind_a_datagram_is_left_out() -> None:
    ip = packet(UDP, build_udp(GUEST, SERVER, 1, 2, b"data"), b"data", b"behind")
    assert parse_udp(ip) == Udp(1, 2, memoryview(b"data"))


@given(payloads, st.integers(0, 0xFFFF), st.integers(0, 0xFFFF))
def test_a_message_is_read_back(payload: bytes, ident: int, sequence: int) -> None:
    header = build_icmp(8, 0, ident, sequence, payload)
    assert word_by_word(header + payload) == 0
    assert parse_icmp(packet(ICMP, header, payload)) == Icmp(8, 0, ident, sequence, memoryview(payload))


@pytest.mark.parametrize(("protocol", "shortest"), [(TCP, 20), (UDP, 8), (ICMP, 8)])
def test_what_is_too_short_is_not_sound(protocol: int, shortest: int) -> None:
    ip = packet(protocol, bytes(shortest - 1))
    assert not is_sound(ip)
    assert parse_udp(ip) is None
    assert parse_icmp(ip) is None


def test_a_wrong_checksum_is_not_sound() -> None:
    assert not is_sound(packet(UDP, struct.pack(">HHHH", 1, 2, 9, 77), b"x"))
    assert parse_udp(packet(UDP, struct.pack(">HHHH", 1, 2, 9, 77), b"x")) is None
    assert not is_sound(packet(ICMP, struct.pack(">BBHHH", 8, 0, 1, 2, 3)))
    assert parse_icmp(packet(ICMP, struct.pack(">BBHHH", 8, 0, 1, 2, 3))) is None


def test_fragments_and_other_protocols_are_not_looked_into() -> None:
    assert is_sound(packet(TCP, b"any", more_fragments=True))
    assert is_sound(packet(UDP, b"any", fragment_offset=8))
    assert is_sound(packet(47, b"any"))


def test_an_address_is_read_as_it_is_written() -> None:
    assert (undotted("192.168.0.1"), dotted(0xC0A80001)) == (0xC0A80001, "192.168.0.1")
    with pytest.raises(ValueError, match=r"1\.2\.3"):
        undotted("1.2.3")
