"""The guest of a replay: a real kernel's client that sends what a trace says, while all packets are kept.

    python -m captures.guest SERVER PORT FILE

FILE gets a JSON list of packets: when, on the wall clock, and the packet in hexadecimal.
"""

from __future__ import annotations

import json
import socket
import sys
import time
from pathlib import Path

from captures.script import Play
from captures.trace import read_trace
from support.frames import Frames

_AFTER_S = 0.4  # longer than the NAT waits for an acknowledgement


def main(server: str, port: int, path: str) -> None:
    with Frames() as frames:
        sys.stdout.write(f"{play(server, port)}\n")
        time.sleep(_AFTER_S)
    Path(path).write_text(json.dumps([(at_s, packet.hex()) for at_s, packet in frames.kept]))


def play(server: str, port: int) -> str:
    """Say what has ended the connection."""
    began_s = time.monotonic()
    with socket.create_connection((server, port), timeout=20) as connection:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        playing = Play(connection, began_s)
        try:
            for frame in read_trace("fusion_guest").values():
                if frame.sender == "guest" and frame.len and frame.ack is not None:
                    playing.receive(frame.ack - 1)
                    if frame.tos is not None:
                        connection.setsockopt(socket.IPPROTO_IP, socket.IP_TOS, frame.tos)
                    playing.send(frame.len, frame.at_s)
            return "data" if connection.recv(1) else "FIN"
        except ConnectionResetError:
            return "RST"


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), sys.argv[3])
