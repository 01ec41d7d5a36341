"""Packets as text: what crossed the loopback interface, read from a packet socket.

    with Capture(port) as capture:
        ...
    capture.lines()     ["> S", "< SA", "> A", "> PA 5", "< A", "< R"]

`>` is toward the port that is watched, `<` away from it. Flags as tcpdump has them (S, F, R, P, A), then the length of
the data if there is any, then the TOS byte if it is not 0.
"""

from __future__ import annotations

import socket
import struct
import threading
import time
from dataclasses import dataclass
from types import TracebackType

_ETH_P_IP = 0x0800
_PACKET_OUTGOING = 4  # if_packet.h: on loopback every packet is seen going out and coming in
_FLAGS = ((0x02, "S"), (0x01, "F"), (0x04, "R"), (0x08, "P"), (0x10, "A"))


@dataclass(frozen=True)
class Packet:
    """One TCP segment over IPv4."""

    at_s: float
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
        self._ports = frozenset(ports)
        self._socket = socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM, socket.htons(_ETH_P_IP))
        self._socket.bind(("lo", _ETH_P_IP))
        self._socket.settimeout(0.05)
        self._thread = threading.Thread(target=self._read, daemon=True)
        self._closing = threading.Event()
        self._added = threading.Condition()
        self.packets: list[Packet] = []

    def __enter__(self) -> Capture:
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._closing.set()
        self._thread.join(5)
        self._socket.close()

    def lines(self) -> list[str]:
        """The packets so far, as text."""
        return [self._line(packet) for packet in list(self.packets)]

    def wait_for(self, flags: str, *, toward: bool, timeout_s: float = 5.0) -> Packet:
        """The first packet with just these flags in this direction, once it has come."""
        deadline_s = time.monotonic() + timeout_s
        with self._added:
            while True:
                for packet in self.packets:
                    if packet.flags == flags and (packet.target_port in self._ports) is toward:
                        return packet
                if not self._added.wait(deadline_s - time.monotonic()):
                    raise AssertionError(f"no {flags} within {timeout_s:g} s; there were {self.lines()}")

    def _line(self, packet: Packet) -> str:
        words = [">" if packet.target_port in self._ports else "<", packet.flags]
        if packet.data_bytes:
            words.append(str(packet.data_bytes))
        if packet.tos:
            words.append(f"tos 0x{packet.tos:02x}")
        return " ".join(words)

    def _read(self) -> None:
        while not self._closing.is_set():
            try:
                data, (_, _, kind, _, _) = self._socket.recvfrom(128)
            except TimeoutError:
                continue
            if kind == _PACKET_OUTGOING or data[9] != socket.IPPROTO_TCP:
                continue
            packet = _parse(data)
            if self._ports & {packet.source_port, packet.target_port}:
                with self._added:
                    self.packets.append(packet)
                    self._added.notify_all()


def _parse(data: bytes) -> Packet:
    header_bytes = (data[0] & 0x0F) * 4
    source_port, target_port, seq, ack, offset, bits = struct.unpack_from(">HHIIBB", data, header_bytes)
    total_bytes = struct.unpack_from(">H", data, 2)[0]
    return Packet(
        at_s=time.monotonic(),
        source_port=source_port,
        target_port=target_port,
        tos=data[1],
        flags="".join(letter for bit, letter in _FLAGS if bits & bit),
        seq=seq,
        ack=ack,
        data_bytes=total_bytes - header_bytes - (offset >> 4) * 4,
    )
