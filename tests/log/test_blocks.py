"""The blocks of a capture, byte for byte, and how they are read again, damaged ones too."""

from __future__ import annotations

import struct
from io import BytesIO

import pytest

from relay.address import Endpoint
from relay.clock import NatClock
from relay.log import EventLog, pcapng
from relay.log.capture import Capture, Interface
from relay.log.captured import Captured, CaptureReader
from relay.log.reading import Problem
from relay.log.rebuilt import LogCapture
from relay.log.rebuilt_ip import UDP, datagram
from relay.log.rebuilt_tcp import PSH, SYN, RebuiltTcp

_END = bytes(4)
_APP, _SERVER = Endpoint("192.168.0.2", 40_000), Endpoint("192.0.2.7", 22)
_AT_NS = (3 << 32) + 5


def block(kind: int, body: bytes) -> bytes:
    length = struct.pack("<I", len(body) + 12)
    return struct.pack("<I", kind) + length + body + length


def option(code: int, value: bytes) -> bytes:
    return struct.pack("<HH", code, len(value)) + value + bytes(-len(value) % 4)


def test_a_file_begins_with_a_section_of_this_byte_order_and_names_who_wrote_it() -> None:
    body = struct.pack("<IHHq", 0x1A2B3C4D, 1, 0, -1) + option(4, b"relay 1") + _END
    assert pcapng.section("relay 1") == block(0x0A0D0D0A, body)
    body = struct.pack("<HHI", 101, 0, 0) + option(2, b"guest") + option(3, b"its side") + option(9, b"\x09") + _END
    assert pcapng.interface("guest", "its side", 101) == block(1, body)


@pytest.mark.parametrize(
    ("name", "written"),
    [("curl", b"curl"), ("a" * 20, b"a" * 15), ("é" * 8, "é".encode() * 7), ("a\ud800b", b"a?b")],
)
def test_a_process_has_as_much_of_its_name_as_a_block_takes(name: str, written: bytes) -> None:
    assert pcapng.process(7, name) == block(0x80000001, struct.pack("<I", 7) + option(2, written) + _END)


def test_a_name_is_one_of_an_address_of_either_version() -> None:
    four = option(1, b"\xc0\x00\x02\x01a.test\0")
    assert pcapng.name_of("192.0.2.1", "a.test") == block(4, four + _END)
    assert pcapng.name_of("::1", "a\ud800") == block(4, option(2, bytes(15) + b"\1a?\0") + _END)


def test_a_packet_has_its_time_its_length_and_what_is_missing_of_it() -> None:
    options = pcapng.packet_options(pcapng.INBOUND, "why", 3, 4)
    told = option(1, b"why") + option(2, b"\1\0\0\0") + option(0x8001, b"\3\0\0\0") + option(0x8003, b"\4\0\0\0")
    assert options == told
    assert pcapng.packet_options(pcapng.OUTBOUND) == option(2, b"\2\0\0\0")
    body = struct.pack("<IIIII", 1, 3, 5, 3, 5) + b"abc\0" + told + _END
    assert pcapng.packet(1, _AT_NS, [b"ab", b"c"], options, missing_bytes=2) == block(6, body)
    lost = struct.pack("<IIIII", 1, 3, 5, 0, 0) + option(4, struct.pack("<Q", 9)) + _END
    assert pcapng.packet(1, _AT_NS, [], b"", lost_before=9) == block(6, lost)
    body = struct.pack("<III", 1, 3, 5) + option(5, struct.pack("<Q", 9)) + _END
    assert pcapng.statistics(1, _AT_NS, 9) == block(5, body)


_HEAD = pcapng.section("relay") + pcapng.interface("guest", "", 101) + pcapng.interface("host", "", 101)


def packet(interface: int, payload: bytes = b"", options: bytes = b"", direction: int = pcapng.INBOUND) -> bytes:
    parts, _ = RebuiltTcp(_APP, _SERVER).segment(True, SYN if not payload else PSH, payload)
    return pcapng.packet(interface, _AT_NS, parts, pcapng.packet_options(direction) + options)


def read(data: bytes) -> tuple[list[Captured], list[Problem], int]:
    reader = CaptureReader(BytesIO(data))
    return list(reader), reader.problems, reader.problem_count


def test_a_segment_is_read_with_its_ends_its_moment_and_its_direction() -> None:
    found, problems, _ = read(_HEAD + packet(0) + packet(1, b"four!", direction=pcapng.OUTBOUND))
    assert problems == []
    first, second = found
    assert (first.at_s, first.side, first.source, first.destination) == (_AT_NS / 1e9, "guest", _APP, _SERVER)
    assert [(each.outward, each.data_bytes) for each in found] == [(True, 0), (True, 5)]
    assert (first.process, first.comment, second.side) == (None, "", "host")


@pytest.mark.parametrize("size", [1, 2, 3, 4])
def test_what_stands_behind_a_packet_begins_where_its_padding_ends(size: int) -> None:
    ((found,), problems, _) = read(_HEAD + packet(0, b"x" * size, option(1, b"a comment")))
    assert (found.comment, found.data_bytes, problems) == ("a comment", size, [])


def test_what_is_no_tcp_is_left_out() -> None:
    asked = pcapng.packet(0, _AT_NS, datagram(UDP, _APP, _SERVER, b"question"), pcapng.packet_options(1))
    assert read(_HEAD + asked + packet(0))[0] == read(_HEAD + packet(0))[0]


def test_damage_is_named_by_its_block_and_what_follows_is_read_as_far_as_it_can_be() -> None:
    short = block(6, bytes(8))
    found, problems, count = read(_HEAD + short + packet(0))
    assert (len(found), count, [(each.number, each.what.partition(":")[0]) for each in problems]) == (
        1,
        1,
        [(4, "it cannot be read")],
    )
    for rest in (b"\6\0\0", packet(0)[:-1], packet(0)[:9]):
        found, problems, _ = read(_HEAD + packet(0) + rest)
        assert (len(found), [(each.number, each.what) for each in problems]) == (
            1,
            [(5, "it is cut off, or the file still grows")],
        )
    for length in (11, 13, 1 << 30):
        found, problems, _ = read(_HEAD + struct.pack("<II", 6, length) + packet(0))
        assert (found, problems[0].what) == ([], f"its length {length} is impossible; what follows is left out")


def test_a_capture_of_another_program_or_byte_order_is_none() -> None:
    foreign = "it does not begin as a capture of the relay's does"
    for head in (_HEAD.replace(b"\x4d\x3c\x2b\x1a", b"\x1a\x2b\x3c\x4d"), block(1, bytes(8)) + _HEAD):
        assert [each.what for each in read(head + packet(0))[1]] == [foreign]
    other = pcapng.section("x") + pcapng.interface("eth0", "", 101) + packet(0) + packet(0)
    found, problems, _ = read(other)
    said = "its interface 'eth0' is neither guest nor host: another program wrote it"
    assert (found, [each.what for each in problems]) == ([], [said])


def test_a_made_segment_has_the_least_header_and_the_greatest_window() -> None:
    parts, _ = RebuiltTcp(_APP, _SERVER).segment(True, SYN)
    ip, tcp = bytes(parts[0]), bytes(parts[1])
    assert (ip[0], ip[4:10]) == (0x45, b"\0\0\x40\0\x40\x06"), "no ident, DF, a TTL of 64"
    assert (tcp[12], tcp[14:16], tcp[18:20]) == (5 << 4, b"\xff\xff", b"\0\0")


def test_processes_that_are_too_many_to_be_known_are_written_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("relay.log.capture._MOST_KNOWN", 2)
    data = bytearray()

    def write(piece: bytes) -> bool:
        data.extend(piece)
        return True

    capture = Capture(write, guest=Interface("g", ""), host=Interface("h", ""), relay=(1, "relay"), epoch_s=0.0)
    for name in ("a", "b", "c", "a"):
        capture.guest([b"x"], 0.0, True, "", (ord(name), name))
    written = [name for name in (b"a", b"b", b"c") for _ in range(bytes(data).count(option(2, name) + _END))]
    assert written == [b"a", b"a", b"b", b"c"]


def test_a_capture_that_is_closed_says_how_many_packets_are_not_in_it() -> None:
    data = bytearray()
    now_s, full = 7.0, False

    def write(piece: bytes) -> bool:
        if not full:
            data.extend(piece)
        return not full

    log = EventLog(NatClock(lambda: now_s))
    capture = LogCapture(log, write, (1, "relay"))
    full = True
    for event, fields in (
        ("flow-opened", {"via": "forward", "client": "127.0.0.1:40000", "destination": "192.0.2.7:22"}),
        ("flow-connected", {"address": "192.0.2.7:22", "local": "10.0.0.5:50000", "dial_s": 0.0}),
    ):
        log.emit(event, flow=1, **fields)
    full = False
    now_s = 9.0
    capture.close()
    at_s, ahead_s = log.clock.read()
    at_ns = capture._capture.ns(at_s - ahead_s)
    assert bytes(data).endswith(pcapng.statistics(0, at_ns, 3) + pcapng.statistics(1, at_ns, 3))


def test_a_record_has_the_moment_that_was_read_for_it() -> None:
    log = EventLog()
    record = log.record("note", flow=1, read=(5.0, 1.0), text="x", because="cut")
    assert (record.at_s, record.ahead_s) == (5.0, 1.0)
