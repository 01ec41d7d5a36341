"""A capture file: Wireshark reads what was meant, and says nothing against it."""

from __future__ import annotations

import struct
from collections.abc import Callable
from io import BytesIO
from pathlib import Path

import pytest

from relay.address import Endpoint
from relay.log import pcapng
from relay.log.capture import Capture, Interface
from relay.log.captured import CaptureReader
from relay.log.pcapng import ETHERNET, Buffer
from relay.log.rebuilt_tcp import PSH, SYN, RebuiltTcp
from support.pcapng import blocks, packets
from support.tshark import read_blocks, read_fields

RELAY, GIT = (1, "relay"), (4711, "git")
EPOCH_S = 1_764_400_000.0


class Kept:
    """What a capture wrote; with `full` it takes nothing."""

    def __init__(self, link_type: int = pcapng.RAW_IP) -> None:
        self.data = bytearray()
        self.full = False
        guest, host = Interface("guest", "a device", link_type), Interface("host", "rebuilt")
        self.capture = Capture(self._write, guest=guest, host=host, relay=RELAY, epoch_s=EPOCH_S)
        self.tcp = RebuiltTcp(Endpoint("192.168.0.2", 40_000), Endpoint("192.0.2.7", 22))

    def _write(self, data: bytes) -> bool:
        if not self.full:
            self.data += data
        return not self.full

    def in_file(self, directory: Path) -> Path:
        path = directory / "kept.pcapng"
        path.write_bytes(self.data)
        return path

    def syn(self) -> list[Buffer]:
        return RebuiltTcp(Endpoint("192.168.0.2", 40_000), Endpoint("192.0.2.7", 22)).segment(True, SYN)[0]


@pytest.mark.system
def test_wireshark_shows_each_side_with_its_packets(tmp_path: Path) -> None:
    kept = Kept()
    kept.capture.guest(kept.tcp.segment(True, SYN)[0], 0.000000001, True, process=GIT)
    kept.capture.guest(kept.tcp.segment(False, SYN)[0], 0.25, False, "tos-reset", GIT)
    parts, missing_bytes = kept.tcp.segment(True, PSH, missing_bytes=5000)
    kept.capture.host(parts, 0.5, True, missing_bytes=missing_bytes)
    kept.capture.host(kept.tcp.segment(False, PSH, b"hello")[0], 0.75, False, process=GIT)
    path = kept.in_file(tmp_path)
    assert read_fields(path, "frame.interface_name", "frame.interface_description", "frame.comment") == [
        ("guest", "a device", "git[4711]"),
        ("guest", "a device", "git[4711], tos-reset"),
        ("host", "rebuilt", ""),
        ("host", "rebuilt", "git[4711]"),
    ]
    assert read_fields(path, "frame.time_epoch", "frame.packet_flags_direction", "ip.src") == [
        ("1764400000.000000001", "0x00000001", "192.168.0.2"),
        ("1764400000.250000000", "0x00000002", "192.0.2.7"),
        ("1764400000.500000000", "0x00000002", "192.168.0.2"),
        ("1764400000.750000000", "0x00000001", "192.0.2.7"),
    ]
    assert read_fields(path, "tcp.flags", "tcp.seq", "tcp.len", "tcp.checksum.status") == [
        ("0x0002", "0", "0", "1"),
        ("0x0012", "0", "0", "1"),
        ("0x0018", "3541", "1460", "2"),
        ("0x0018", "1", "5", "1"),
    ]


@pytest.mark.system
def test_wireshark_knows_apples_process_blocks(tmp_path: Path) -> None:
    """It shows them where it reads the file as a file; from 4.6 on it filters by them."""
    kept = Kept()
    kept.capture.guest(kept.syn(), 0, True, process=GIT)
    kept.capture.host(kept.syn(), 0, True, process=GIT)
    kept.capture.host(kept.syn(), 0, True)
    told = read_blocks(kept.in_file(tmp_path))
    processes = [each["pcapng.block.data"] for each in told if each["pcapng.block.type"] == "0x80000001"]
    names = [(each["pcapng.darwin.process_id"], _option(each, "pcapng.darwin.process_name")) for each in processes]
    assert names == [("4711", "git"), ("1", "relay")]
    owners = [
        tuple(
            _option(each["pcapng.block.data"], f"pcapng.options.option.data.packet.darwin.{kind}")
            for kind in ("dpeb_id", "edpeb_id")
        )
        for each in told
        if each["pcapng.block.type"] == "0x00000006"
    ]
    assert owners == [("0", None), ("1", "0"), ("1", None)]


@pytest.mark.system
def test_wireshark_finds_the_names(tmp_path: Path) -> None:
    kept = Kept()
    kept.capture.name("192.0.2.7", "server.test")
    kept.capture.name("2001:db8::7", "server6.test")
    kept.capture.guest(kept.syn(), 0, True)
    path = kept.in_file(tmp_path)
    assert read_fields(path, "ip.dst_host", options=("-N", "n")) == [("server.test",)]
    told = str(read_blocks(path))
    assert "2001:db8::7" in told
    assert "server6.test" in told


@pytest.mark.system
def test_wireshark_reads_frames_where_the_link_has_them(tmp_path: Path) -> None:
    kept = Kept(ETHERNET)
    kept.capture.guest([bytes.fromhex("005056000002 005056000001 0800"), *kept.syn()], 0, True)
    assert read_fields(kept.in_file(tmp_path), "eth.src", "ip.dst") == [("00:50:56:00:00:01", "192.0.2.7")]


@pytest.mark.system
def test_wireshark_shows_how_many_packets_are_missing(tmp_path: Path) -> None:
    kept = Kept()
    kept.full = True
    for _ in range(3):
        kept.capture.guest(kept.syn(), 0, True, process=GIT)
    kept.full = False
    for at_s in (1, 2):
        kept.capture.guest(kept.syn(), at_s, True, process=GIT)
    kept.capture.close(3)
    told = read_blocks(kept.in_file(tmp_path))
    packet, other, statistics = (block["pcapng.block.data"] for block in told[-3:])
    assert _option(packet, "pcapng.options.option.data.packet.drop_count") == "3"
    assert _option(other, "pcapng.options.option.data.packet.drop_count") is None
    assert _option(statistics, "pcapng.options.option.data.interface.dropped") == "3"


def test_a_process_that_was_lost_with_its_packet_comes_with_the_next() -> None:
    kept = Kept()
    kept.full = True
    kept.capture.guest(kept.syn(), 0, True, process=GIT)
    kept.full = False
    kept.capture.guest(kept.syn(), 0, True, process=(1, "first"))
    kept.capture.guest(kept.syn(), 0, True, process=GIT)
    assert _processes(kept) == [1, 4711]


def test_a_process_is_written_once_and_a_pid_that_is_another_program_now_again() -> None:
    kept = Kept()
    for process in (GIT, GIT, (4711, "ssh"), GIT):
        kept.capture.guest(kept.syn(), 0, True, process=process)
    assert _processes(kept) == [4711, 4711]


def test_the_relay_on_behalf_of_an_unknown_process_is_not_the_apps() -> None:
    kept = Kept()
    kept.capture.host(kept.syn(), 0, True, "tos-reset")
    kept.capture.host(kept.syn(), 1, True, "tos-reset", GIT)
    read = [(each.process, each.comment) for each in CaptureReader(BytesIO(kept.data))]
    assert read == [(None, "tos-reset"), (GIT, "tos-reset")]


def test_a_file_says_who_wrote_it() -> None:
    _, body = next(iter(blocks(bytes(Kept().data))))
    assert struct.pack("<HH", 4, 11) + b"vmnat-relay" in body


def test_the_end_says_how_many_packets_are_missing_of_a_side_and_when() -> None:
    kept = Kept()
    kept.full = True
    for _ in range(3):
        kept.capture.host(kept.syn(), 0, True)
    kept.full = False
    kept.capture.close(2.5)
    kept.capture.close(2.5)
    (body,) = (body for kind, body in blocks(bytes(kept.data)) if kind == 5)
    at_ns = int((EPOCH_S + 2.5) * 1e9)
    assert body == struct.pack("<IIIHHQI", 1, at_ns >> 32, at_ns & 0xFFFFFFFF, 5, 8, 3, 0)


def test_a_name_is_written_once() -> None:
    kept = Kept()
    for name in ("server.test", "other.test", "server.test"):
        kept.capture.name("192.0.2.7", name)
    assert [kind for kind, _ in blocks(bytes(kept.data))].count(4) == 2


def test_what_would_confuse_a_terminal_is_escaped() -> None:
    kept = Kept()
    kept.capture.guest(kept.syn(), 0, True, "a\x1b[31m", (1, "b\x07"))
    assert packets(bytes(kept.data))[0].comment == "b\\x07[1], a\\x1b[31m"


@pytest.mark.parametrize(
    "make",
    [
        lambda text: pcapng.packet_options(1, text),
        lambda text: pcapng.interface(text, text, pcapng.RAW_IP),
        lambda text: pcapng.process(1, text),
    ],
)
def test_text_that_is_too_long_is_cut_between_characters(make: Callable[[str], bytes]) -> None:
    assert b"\xc3" not in make("\u00e9" * 70_000).replace(b"\xc3\xa9", b"")


def test_a_packet_may_have_any_length() -> None:
    kept = Kept()
    for size in range(5):
        kept.capture.guest([b"x" * size], 0, True)
    assert [each.data for each in packets(bytes(kept.data))] == [b"x" * size for size in range(5)]


def test_a_file_is_whole_blocks_from_the_first_on() -> None:
    kept = Kept()
    kinds = [kind for kind, _ in blocks(bytes(kept.data))]
    assert kinds == [0x0A0D0D0A, 1, 1]


def test_what_begins_anew_stands_for_itself_and_what_was_before_says_what_it_lacks() -> None:
    kept = Kept()
    kept.full = True
    kept.capture.guest(kept.syn(), 0, True)
    kept.full = False
    for process in ((1, "first"), GIT):
        kept.capture.guest(kept.syn(), 0, True, process=process)
    kept.capture.name("192.0.2.7", "server.test")
    head = kept.capture.begin_anew(1)
    assert [kind for kind, _ in blocks(bytes(kept.data))][-2:] == [4, 5]
    kept.data = bytearray(head)
    kept.capture.name("192.0.2.7", "server.test")
    kept.capture.guest(kept.syn(), 2, True, process=GIT)
    kept.capture.close(3)
    told = blocks(bytes(kept.data))
    assert [kind for kind, _ in told] == [0x0A0D0D0A, 1, 1, 4, 0x80000001, 6]
    assert _processes(kept) == [4711]


@pytest.mark.system
def test_wireshark_reads_two_sections_in_one_file(tmp_path: Path) -> None:
    kept = Kept()
    kept.capture.guest(kept.syn(), 0, True, process=(1, "first"))
    kept.data += kept.capture.begin_anew(1)
    kept.capture.guest(kept.syn(), 2, True, process=GIT)
    assert read_fields(kept.in_file(tmp_path), "frame.comment") == [("first[1]",), ("git[4711]",)]


def _processes(kept: Kept) -> list[int]:
    return [struct.unpack_from("<I", body)[0] for kind, body in blocks(bytes(kept.data)) if kind == 0x80000001]


def _option(data: dict[str, object], name: str) -> object:
    """The value of an option in a block, as Wireshark calls it; None if it is not there."""
    options = data["pcapng.options"]
    assert isinstance(options, dict)
    return next((each[name] for each in options["pcapng.options.option"] if name in each), None)
