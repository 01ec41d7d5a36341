"""Packets as text: what crossed the loopback interface, read from a packet socket.

    with Capture(port) as capture:
        ...
    capture.lines()     ["> S", "< SA", "> A", "> PA 5", "< A", "< R"]

`>` is toward the port that is watched, `<` away from it. Flags as tcpdump has them (S, F, R, P, A), then the length of
the data if there is any, then the TOS byte if it is not 0.

The kernel picks the packets and notes the time of each, so that neither other traffic nor a busy test can blur them.
After its block a capture holds every packet up to the block's end; one that lost any is an AssertionError.
"""

from __future__ import annotations

import socket
import struct
import threading
import time
from dataclasses import dataclass
from types import TracebackType

from relay.observe.kernel import bpf

_ETH_P_IP = 0x0800
_PACKET_OUTGOING = 4  # if_packet.h: on loopback every packet is seen going out and coming in
_SOL_PACKET, _PACKET_STATISTICS = 263, 6
_SO_ATTACH_FILTER, _SO_RCVBUFFORCE, _SO_TIMESTAMPNS = 26, 33, 35  # asm-generic/socket.h
_TIMESPEC = struct.Struct("@ll")
_HEADERS_BYTES = 128
_BUFFER_BYTES = 16 << 20
_FLAGS = ((0x02, "S"), (0x01, "F"), (0x04, "R"), (0x08, "P"), (0x10, "A"))


@dataclass(frozen=True)
class Packet:
    """One TCP segment over IPv4."""

    at_s: float
    """When the kernel saw it, on the wall clock."""
    source_port: int
    target_port: int
    tos: int
    flags: str
    seq: int
    ack: int
    data_bytes: int


class Capture:
    """Records the segments to and from some ports of loopback."""

    def __init__(self, *ports: int) -> None:
        self.ports = frozenset(ports)
        self._socket = socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM, 0)
        self._filter = _segments_of(self.ports)
        self._socket.setsockopt(socket.SOL_SOCKET, _SO_ATTACH_FILTER, self._filter.fprog)
        self._socket.setsockopt(socket.SOL_SOCKET, _SO_RCVBUFFORCE, _BUFFER_BYTES)
        self._socket.setsockopt(socket.SOL_SOCKET, _SO_TIMESTAMPNS, 1)
        _wait_until_stamped_on_arrival()
        self._socket.bind(("lo", _ETH_P_IP))
        self._socket.settimeout(0.05)
        self._thread = threading.Thread(target=self._read, daemon=True)
        self._until_s = float("inf")
        self._added = threading.Condition()
        self.packets: list[Packet] = []

    def __enter__(self) -> Capture:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._until_s = time.time()
        self._thread.join(60)
        _, lost = struct.unpack("=II", self._socket.getsockopt(_SOL_PACKET, _PACKET_STATISTICS, 8))
        self._socket.close()
        assert not lost, f"the capture lost {lost} packets"

    def lines(self) -> list[str]:
        """The packets so far, as text."""
        return [self._line(packet) for packet in list(self.packets)]

    def wait_for(self, flags: str, *, toward: bool, timeout_s: float = 60.0) -> Packet:
        """The first packet with just these flags in this direction, once it has come."""
        deadline_s = time.monotonic() + timeout_s
        with self._added:
            while True:
                for packet in self.packets:
                    if packet.flags == flags and (packet.target_port in self.ports) is toward:
                        return packet
                if not self._added.wait(deadline_s - time.monotonic()):
                    raise AssertionError(f"no {flags} within {timeout_s:g} s; there were {self.lines()}")

    def _line(self, packet: Packet) -> str:
        words = [">" if packet.target_port in self.ports else "<", packet.flags]
        if packet.data_bytes:
            words.append(str(packet.data_bytes))
        if packet.tos:
            words.append(f"tos 0x{packet.tos:02x}")
        return " ".join(words)

    def _read(self) -> None:
        while True:
            until_s = self._until_s  # before the wait: one that begins after the end and finds nothing has found all
            try:
                data, notes, _, (_, _, kind, _, _) = self._socket.recvmsg(_HEADERS_BYTES, 64)
            except TimeoutError:
                if until_s < float("inf"):
                    return
                continue
            if kind == _PACKET_OUTGOING:
                continue
            packet = _parse(data, _time_s(notes))
            if packet.at_s > self._until_s:
                return
            with self._added:
                self.packets.append(packet)
                self._added.notify_all()


def _wait_until_stamped_on_arrival() -> None:
    """Wait for the kernel to note packets' times as they come.

    It begins to a while after it was asked to, 250 ms on a busy host; until then a packet gets its time on being read.
    """
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.setsockopt(socket.SOL_SOCKET, _SO_TIMESTAMPNS, 1)
        sock.bind(("127.0.0.1", 0))
        while True:
            sock.sendto(b"?", sock.getsockname())
            time.sleep(0.001)  # so that the two times are apart
            read_s = time.time() - 0.0005
            if _time_s(sock.recvmsg(1, 64)[1]) < read_s:
                return


def _time_s(notes: list[tuple[int, int, bytes]]) -> float:
    seconds, nanoseconds = _TIMESPEC.unpack(notes[0][2])
    return float(seconds + nanoseconds / 1e9)


def _segments_of(ports: frozenset[int]) -> bpf.Program:
    code = [bpf.load_byte(9), bpf.if_equal(socket.IPPROTO_TCP, then=1), bpf.drop(), bpf.index_by_ip_header(0)]
    for at in (0, 2):
        code.append(bpf.load_half_x(at))
        for port in ports:
            code += [bpf.if_equal(port, otherwise=1), bpf.accept(_HEADERS_BYTES)]
    return bpf.program(*code, bpf.drop())


def _parse(data: bytes, at_s: float) -> Packet:
    header_bytes = (data[0] & 0x0F) * 4
    source_port, target_port, seq, ack, offset, bits = struct.unpack_from(">HHIIBB", data, header_bytes)
    total_bytes = struct.unpack_from(">H", data, 2)[0]
    return Packet(
        at_s=at_s,
        source_port=source_port,
        target_port=target_port,
        tos=data[1],
        flags="".join(letter for bit, letter in _FLAGS if bits & bit),
        seq=seq,
        ack=ack,
        data_bytes=total_bytes - header_bytes - (offset >> 4) * 4,
    )
