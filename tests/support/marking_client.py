"""A client that marks a segment of each of its connections, and says how long the resets took.

    python -m support.marking_client SERVER PORT COUNT

One line for each connection: seconds, from the marked segment to the RST, both as the kernel saw them.
"""

from __future__ import annotations

import contextlib
import socket
import sys

from relay.wire.packet import TCP, parse_ipv4
from relay.wire.segment import RST, parse_segment
from support.frames import Frames

_AF21 = 0x48


def main(server: str, port: int, count: int) -> None:
    with Frames() as frames:
        for _ in range(count):
            with socket.create_connection((server, port), timeout=60) as connection:
                connection.sendall(b"unmarked")
                connection.recv(100)
                connection.setsockopt(socket.IPPROTO_IP, socket.IP_TOS, _AF21)
                with contextlib.suppress(ConnectionResetError):
                    connection.sendall(b"marked")
                    connection.recv(100)
    marked_s = 0.0
    for at_s, packet in frames.kept:
        ip = parse_ipv4(memoryview(packet))
        parsed = parse_segment(ip.payload) if ip is not None and ip.protocol == TCP else None
        if ip is not None and parsed is not None:
            source_port, _, segment = parsed
            if ip.tos == _AF21 and len(segment.payload):
                marked_s = at_s
            elif source_port == port and segment.flags == RST and marked_s:
                sys.stdout.write(f"{at_s - marked_s}\n")
                marked_s = 0.0


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]))
