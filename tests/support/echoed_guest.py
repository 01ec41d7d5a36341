"""A guest that sends very much to an echo server, and checks what comes back while it still sends.

    python -m support.echoed_guest SERVER PORT BYTES

It writes how many bytes came back as they were sent.
"""

from __future__ import annotations

import random
import socket
import sys
import threading

_PIECE_BYTES = 1 << 16
_SILENT_S = 60.0


def pieces(size_bytes: int) -> list[int]:
    """The lengths of what is sent at once."""
    whole, rest = divmod(size_bytes, _PIECE_BYTES)
    return [_PIECE_BYTES] * whole + [rest] * bool(rest)


def main(server: str, port: int, size_bytes: int) -> None:
    with socket.create_connection((server, port), timeout=_SILENT_S) as connection:
        thread = threading.Thread(target=send, args=(connection, size_bytes))
        thread.start()
        intact_bytes = check(connection, size_bytes)
        thread.join()
    sys.stdout.write(f"{intact_bytes}\n")


def send(connection: socket.socket, size_bytes: int) -> None:
    source = random.Random(size_bytes)  # noqa: S311 - to be repeated
    for size in pieces(size_bytes):
        connection.sendall(source.randbytes(size))
    connection.shutdown(socket.SHUT_WR)


def check(connection: socket.socket, size_bytes: int) -> int:
    """How many bytes are as they were sent."""
    source = random.Random(size_bytes)  # noqa: S311 - as it was sent
    intact_bytes = 0
    with connection.makefile("rb") as stream:
        for size in pieces(size_bytes):
            if stream.read(size) != source.randbytes(size):
                return intact_bytes
            intact_bytes += size
        return intact_bytes if not stream.read(1) else 0


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]))
