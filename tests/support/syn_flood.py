"""Very many handshakes that are never completed, then a RST for each; beside them a program that only connects.

    python -m support.syn_flood SERVER PORT COUNT

It writes a line of JSON: how many SYNs had a SYN-ACK, how many of those a RST afterwards, and how long a connection and
a byte's echo took, in seconds: while all are half-open, and after their RSTs.
"""

from __future__ import annotations

import json
import socket
import sys
import time

from relay.wire.segment import RST, SYN, Segment
from support.raw_guest import RawGuest

_FIRST_PORT = 10_000
_UNANSWERED = 200  # at once: a device's queue has room for 500 packets
_WITHIN_S = 60.0
_PATIENCE_S = 0.3
_RSTS_AT_ONCE = 50


class Flood:
    """SYNs from as many ports."""

    def __init__(self, guest: RawGuest, port: int, count: int) -> None:
        self._guest = guest
        self._port = port
        self._ports = range(_FIRST_PORT, _FIRST_PORT + count)
        self.answered: set[int] = set()
        self.reset: set[int] = set()

    def open(self) -> None:
        """Send them all, and wait for an answer to each; what the device's queue has lost is sent again."""
        until_s = time.monotonic() + _WITHIN_S
        for sent, port in enumerate(self._ports, 1):
            self._send(port)
            while sent - len(self.answered) > _UNANSWERED and time.monotonic() < until_s:
                self._hear_of(self._ports[:sent])
        while len(self.answered) < len(self._ports) and time.monotonic() < until_s:
            self._hear_of(self._ports)

    def _send(self, port: int) -> None:
        self._guest.send(port, self._port, Segment(port, 0, SYN, 64_240, mss=1460))

    def _hear_of(self, ports: range) -> None:
        if self._hear(_PATIENCE_S):
            while self._hear(0.001):
                pass
        else:
            for port in ports:
                if port not in self.answered:
                    self._send(port)

    def end(self) -> None:
        """Send a RST for each."""
        for number, port in enumerate(self._ports):
            self._guest.send(port, self._port, Segment(port + 1, 0, RST))
            if number % _RSTS_AT_ONCE == 0:
                time.sleep(0.02)  # nothing answers them, and the device's queue is short

    def _hear(self, within_s: float) -> bool:
        """Take in one answer; return whether there was one."""
        for _, _, port, segment in self._guest.received(within_s):
            if segment.flags & SYN:
                self.answered.add(port)
            elif segment.flags & RST:
                self.reset.add(port)
            return True
        return False


def connect(server: str, port: int) -> float:
    """How long a connection and an echo take."""
    began_s = time.monotonic()
    with socket.create_connection((server, port), timeout=20) as connection:
        connection.sendall(b"x")
        assert connection.recv(1) == b"x"
    return time.monotonic() - began_s


def main(server: str, port: int, count: int) -> None:
    with RawGuest(server) as guest:
        flood = Flood(guest, port, count)
        flood.open()
        meanwhile_s = connect(server, port)
        flood.end()
        afterwards_s = connect(server, port)
    told = {
        "answered": len(flood.answered),
        "reset": len(flood.reset & flood.answered),
        "connect_s": [meanwhile_s, afterwards_s],
    }
    sys.stdout.write(json.dumps(told) + "\n")


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]))
