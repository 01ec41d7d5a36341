"""Reads a capture that the relay wrote (`--pcap`): which side each TCP segment passed on, whose it is, and the comment.

A block that cannot be read is left out, and reported as a `Problem` with its number; blocks of kinds
that the relay does not write are skipped. A capture that another program wrote has no sides, and is not read.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from ipaddress import ip_address
from typing import BinaryIO, TypeAlias

from relay.address import Endpoint
from relay.log import pcapng
from relay.log.reading import MOST_PROBLEMS, Problem

MAGIC = b"\x0a\x0d\x0d\x0a"
"""What a capture begins with; no JSON does."""

Options: TypeAlias = dict[int, bytes]

_MOST_BLOCK_BYTES = 1 << 20  # a packet has 64 KiB at most
_NS = 1e9
_TCP = 6
_SIDES = ("guest", "host")


@dataclass(frozen=True, slots=True)
class Captured:
    """A TCP segment."""

    at_s: float
    """In seconds since 1970."""
    side: str
    """The interface that it passed on: guest, between the app and the relay, or host."""
    outward: bool
    """Whether it goes from the app toward the server."""
    source: Endpoint
    destination: Endpoint
    seq: int
    ack: int
    flags: int
    data_bytes: int
    process: tuple[int, str] | None
    """The app's."""
    comment: str
    """What the relay says of it, without the process."""


class _Foreign(Exception):
    """This is no capture of ours, for the reason given."""


class CaptureReader:
    """An iterator over the TCP segments of a capture."""

    def __init__(self, stream: BinaryIO) -> None:
        self._stream = stream
        self._interfaces: list[str] = []
        self._processes: list[tuple[int, str]] = []
        self.problems: list[Problem] = []
        self.problem_count = 0
        self.block_count = 0

    def __iter__(self) -> Iterator[Captured]:
        while head := self._stream.read(8):
            self.block_count += 1
            if (body := self._body(head)) is None:
                return
            try:
                found = self._read(head, body)
            except (struct.error, IndexError, ValueError) as error:
                self._complain(f"it cannot be read: {error}")
                continue
            except _Foreign as reason:
                self._complain(str(reason))
                return
            if found is not None:
                yield found

    def _body(self, head: bytes) -> bytes | None:
        """The rest of a block; None where the file cannot be read on."""
        length = struct.unpack_from("<4xI", head)[0] if len(head) == 8 else 0
        if len(head) < 8 or (12 <= length <= _MOST_BLOCK_BYTES and length % 4 == 0):
            body = self._stream.read(length - 8) if length else b""
            if length and len(body) == length - 8:
                return body[:-4]
            self._complain("it is cut off, or the file still grows")
        else:
            self._complain(f"its length {length} is impossible; what follows is left out")
        return None

    def _read(self, head: bytes, body: bytes) -> Captured | None:
        (kind,) = struct.unpack_from("<I", head)
        if self.block_count == 1 and (head[:4] != MAGIC or struct.unpack_from("<I", body) != (0x1A2B3C4D,)):
            raise _Foreign("it does not begin as a capture of the relay's does")
        match kind:
            case 0x0A0D0D0A:
                self._interfaces, self._processes = [], []
            case 1:
                self._interfaces.append(_text(_options(body[8:]), 2))
            case 0x80000001:
                (pid,) = struct.unpack_from("<I", body)
                self._processes.append((pid, _text(_options(body[4:]), 2)))
            case 6:
                return self._packet(body)
            case _:
                pass
        return None

    def _packet(self, body: bytes) -> Captured | None:
        interface, high, low, captured, length = struct.unpack_from("<IIIII", body)
        side = self._interfaces[interface]
        if side not in _SIDES:
            raise _Foreign(f"its interface {side!r} is neither guest nor host: another program wrote it")
        options = _options(body[20 + captured + -captured % 4 :])
        inbound = options.get(2, b"\2")[0] & 3 == pcapng.INBOUND
        segment = _segment(body[20 : 20 + captured], length)
        if segment is None:
            return None
        process, comment = self._owner(options)
        at_s = (high << 32 | low) / _NS
        return Captured(at_s, side, inbound == (side == "guest"), *segment, process, comment)

    def _owner(self, options: Options) -> tuple[tuple[int, str] | None, str]:
        """The app's process, and the comment without it."""
        comment = _text(options, 1)
        indices = [struct.unpack("<I", options[code])[0] for code in (0x8003, 0x8001) if code in options]
        if not indices or indices[0] >= len(self._processes):
            return None, comment
        pid, _ = self._processes[indices[0]]
        name, found, rest = comment.partition(f"[{pid}]")  # the process's block has the name's beginning alone
        if not found:
            return None, comment  # the relay itself, on behalf of a process that is not known
        return (pid, name), rest.removeprefix(", ")

    def _complain(self, what: str) -> None:
        self.problem_count += 1
        if len(self.problems) < MOST_PROBLEMS:
            self.problems.append(Problem(self.block_count, what, "block"))


def _segment(packet: bytes, length: int) -> tuple[Endpoint, Endpoint, int, int, int, int] | None:
    """The ends, sequence and acknowledgement number, flags and size of a TCP segment; None if it is none."""
    if packet[0] >> 4 == 4:
        at, protocol, addresses = (packet[0] & 15) * 4, packet[9], (packet[12:16], packet[16:20])
    else:
        at, protocol, addresses = 40, packet[6], (packet[8:24], packet[24:40])
    if protocol != _TCP:
        return None
    source, destination, seq, ack, offset, flags = struct.unpack_from(">HHIIBB", packet, at)
    ends = [Endpoint(str(ip_address(ip)), port) for ip, port in zip(addresses, (source, destination), strict=True)]
    return ends[0], ends[1], seq, ack, flags, max(0, length - at - (offset >> 4) * 4)


def _options(data: bytes) -> Options:
    """Each option's value; of several with one code, the first."""
    found: Options = {}
    at = 0
    while at + 4 <= len(data):
        code, length = struct.unpack_from("<HH", data, at)
        if code == 0:
            break
        found.setdefault(code, data[at + 4 : at + 4 + length])
        at += 4 + length + -length % 4
    return found


def _text(options: Options, code: int) -> str:
    return options.get(code, b"").decode("utf-8", "replace")
