"""RFC 9293 sections 3.1 and 3.2: the header, its options and its checksum; 3.7.1: the maximum segment size."""

from __future__ import annotations

import pytest

from relay.wire.packet import TCP, build_ipv4, is_sound, parse_ipv4, tcp_checksum, undotted
from relay.wire.segment import ACK, PSH, SYN, URG, Segment, build_segment, parse_segment
from support.packetdrill.player import play, play_opened

GUEST, SERVER = undotted("192.168.150.128"), undotted("192.0.2.7")


def _with_options(options: str) -> Segment:
    octets = bytes.fromhex(options)
    octets += bytes(-len(octets) % 4)
    header = bytearray(build_segment(1, 2, Segment(1, 0, SYN, 1000)) + octets)
    header[12] = len(header) // 4 << 4
    parsed = parse_segment(memoryview(bytes(header) + b"text"))
    assert parsed is not None
    assert bytes(parsed[2].payload) == b"text"
    return parsed[2]


def test_must_1_rec_1_the_window_is_unsigned_and_wider_inside() -> None:
    sent = "".join(f"+0 > . {at}:{at + 1460}(1460) ack 1\n" for at in range(1, 64_241, 1460))
    play_opened("+0 < . 1:1(0) ack 1 win 65535\n+0 write(4, ..., 90000) = 90000\n" + sent)


@pytest.mark.parametrize("flipped", [0, 3, 20, 24])
def test_must_2_3_a_checksum_is_made_and_checked(flipped: int) -> None:
    header = bytearray(build_segment(1, 2, Segment(7, 8, ACK, 9)))
    header[16:18] = tcp_checksum(GUEST, SERVER, header, b"text!").to_bytes(2)
    packet = bytearray(build_ipv4(GUEST, SERVER, TCP, 25, ttl=64) + header + b"text!")
    sound = parse_ipv4(memoryview(bytes(packet)))
    assert sound is not None
    assert is_sound(sound)
    packet[20 + flipped] ^= 0x10
    damaged = parse_ipv4(memoryview(bytes(packet)))
    assert damaged is not None
    assert not is_sound(damaged)


@pytest.mark.parametrize(
    "options",
    [
        "020405b4",
        "01 020405b4",
        "0101 020405b4 00",
        "0402 020405b4",
        "080a0000000100000000 020405b4",
        "030307 020405b4",  # begins at no multiple of a word (MUST-64)
        "020405b4 00 ff ff",
    ],
)
def test_must_4_64_the_mss_is_found_among_ends_and_nops_at_any_offset(options: str) -> None:
    assert _with_options(options).mss == 1460


def test_must_5_options_are_read_in_any_segment() -> None:
    header = build_segment(1, 2, Segment(1, 5, ACK | PSH, 1000, timestamps=(1, 2), sack=((3, 4), (5, 6))))
    parsed = parse_segment(memoryview(header + b"text"))
    assert parsed is not None
    assert (parsed[2].timestamps, parsed[2].sack) == ((1, 2), ((3, 4), (5, 6)))


@pytest.mark.parametrize("unknown", ["fd04abcd", "1302", "22 0a 0000000000000000", "fe02"])
def test_must_6_68_an_unknown_option_is_passed_over_by_its_length(unknown: str) -> None:
    assert _with_options(unknown + "020405b4").mss == 1460


@pytest.mark.parametrize(
    "illegal", ["0201", "0200", "02ff05b4", "0205 05b4 00", "02", "0801", "0504", "fd00", "fd01", "010102"]
)
def test_must_7_an_illegal_length_ends_the_options_and_does_no_harm(illegal: str) -> None:
    assert _with_options("01 040203030703" + illegal).mss is None
    assert _with_options(illegal).mss is None


def test_must_69_padding_is_zeros() -> None:
    assert build_segment(1, 2, Segment(1, 0, SYN, 1000, window_scale=7)).endswith(b"\x03\x03\x07\x00")


@pytest.mark.parametrize("size", [0, 1, 19])
def test_a_header_that_is_cut_off_is_no_segment(size: int) -> None:
    assert parse_segment(memoryview(build_segment(1, 2, Segment(1)))[:size]) is None


@pytest.mark.parametrize("words", [0, 4, 6, 15])
def test_a_header_length_that_cannot_be_is_no_segment(words: int) -> None:
    header = bytearray(build_segment(1, 2, Segment(1)))
    header[12] = words << 4
    assert parse_segment(memoryview(bytes(header))) is None


def test_every_field_comes_back_as_it_was() -> None:
    segment = Segment(
        0xFFFF_FFFF, 2, SYN | ACK | URG, 65_535, b"", 0x48, 3, 1460, 14, True, (4, 5), ((6, 7), (0xFFFF_FFFF, 8))
    )
    octets = build_segment(65_535, 1, segment)
    assert parse_segment(memoryview(octets), tos=0x48) == (65_535, 1, segment)
    plain = Segment(1, 2, ACK | PSH, 3, b"text")
    assert parse_segment(memoryview(build_segment(4, 5, plain) + b"text")) == (4, 5, plain)


def test_must_14_65_67_shld_5_the_mss_is_said_in_syns_and_nowhere_else() -> None:
    player = play_opened("+0 write(4, ..., 5) = 5\n+0 > P. 1:6(5) ack 1 win 64240\n")
    assert player.connection.mss == 1460
    play("dial()\n+0 > S 0:0(0) win 64240 <mss 1400>\n", mss=1400)


def test_must_15_without_the_option_it_is_536() -> None:
    play("""
        +0 < S 0:0(0) win 64240
        +0 > S. 0:0(0) ack 1 <mss 1460>
        +0 < . 1:1(0) ack 1 win 64240
        +0 write(4, ..., 537) = 537
        +0 > . 1:537(536) ack 1
        +0 > P. 537:538(1) ack 1
    """)


@pytest.mark.parametrize(("theirs", "used"), [(1000, 1000), (1460, 1460), (9000, 1460), (1, 48), (0, 536)])
def test_must_16_the_smaller_of_both_counts(theirs: int, used: int) -> None:
    player = play(f"""
        +0 < S 0:0(0) win 64240 <mss {theirs}>
        +0 > S. 0:0(0) ack 1 <mss 1460>
        +0 < . 1:1(0) ack 1 win 64240
    """)
    assert player.connection.mss == used
