"""A guest without a TCP of its own, on an address where no kernel answers for it: single segments out, packets in.

It is for root in a network that `relay run` has made. What it sends leaves by the device, whatever its addresses are.
"""

from __future__ import annotations

import errno
import socket
import time
from collections.abc import Iterator
from types import TracebackType

from relay.wire.packet import TCP, Ipv4, build_ipv4, parse_ipv4, tcp_checksum, undotted
from relay.wire.segment import Segment, build_segment, parse_segment

ADDRESS = "192.168.127.129"
_DEVICE = "eth0"
_ETH_P_ALL, _ETH_P_IP = 0x0003, 0x0800
_SO_RCVBUFFORCE = 33  # asm-generic/socket.h
_BUFFER_BYTES = 64 << 20


class RawGuest:
    """Sends to one address."""

    def __init__(self, destination: str, *, source: str = ADDRESS) -> None:
        self._destination, self._source = undotted(destination), undotted(source)
        self._device = socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM, socket.htons(_ETH_P_ALL))
        self._device.setsockopt(socket.SOL_SOCKET, _SO_RCVBUFFORCE, _BUFFER_BYTES)
        self._device.bind((_DEVICE, _ETH_P_ALL))

    def __enter__(self) -> RawGuest:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._device.close()

    def send(self, source_port: int, port: int, segment: Segment) -> None:
        """Send one segment."""
        header = bytearray(build_segment(source_port, port, segment))
        value = tcp_checksum(self._source, self._destination, header, segment.payload)
        header[16:18] = value.to_bytes(2)
        length = len(header) + len(segment.payload)
        ip = build_ipv4(self._source, self._destination, TCP, length, ttl=64, tos=segment.tos, dont_fragment=True)
        self.send_packet(ip + header + segment.payload)

    def send_packet(self, packet: bytes) -> None:
        """Send one IPv4 packet."""
        while True:
            try:
                self._device.sendto(packet, (_DEVICE, _ETH_P_IP))
            except OSError as error:
                if error.errno != errno.ENOBUFS:
                    raise
                time.sleep(0.001)  # the device's queue is full
            else:
                return

    def received(self, within_s: float) -> Iterator[tuple[Ipv4, int, int, Segment]]:
        """The TCP packets to this guest: each with its ports and segment; until none comes for so long."""
        self._device.settimeout(within_s)
        while True:
            try:
                data, _ = self._device.recvfrom(65536)
            except TimeoutError:
                return
            ip = parse_ipv4(memoryview(data))
            if ip is None or ip.protocol != TCP or ip.destination != self._source:
                continue
            parsed = parse_segment(ip.payload, tos=ip.tos)
            if parsed is not None:
                yield ip, *parsed
