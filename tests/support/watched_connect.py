"""A program that connects, while all packets are kept.

    python -m support.watched_connect SERVER PORT FILE

It writes what came of it, an errno's name or `connected`, and after how many seconds. FILE gets a JSON list: when each
packet came, on the wall clock, and the packet in hexadecimal.
"""

from __future__ import annotations

import errno
import json
import socket
import sys
import time
from pathlib import Path

from support.frames import Frames


def main(server: str, port: int, path: str) -> None:
    with Frames() as frames, socket.socket() as connection:
        began_s = time.monotonic()
        outcome = connection.connect_ex((server, port))
        took_s = time.monotonic() - began_s
        time.sleep(0.1)  # for the last packet to be kept
    Path(path).write_text(json.dumps([(at_s, packet.hex()) for at_s, packet in frames.kept]))
    sys.stdout.write(f"{errno.errorcode.get(outcome, 'connected')} {took_s}\n")


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), sys.argv[3])
