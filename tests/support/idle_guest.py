"""A guest with very many connections that say nothing.

    python -m support.idle_guest SERVER PORT COUNT

For each line on standard input it opens so many more, and answers with a line once they are open.
"""

from __future__ import annotations

import socket
import sys


def main(server: str, port: int, count: int) -> None:
    connections: list[socket.socket] = []
    sys.stdout.write("ready\n")
    sys.stdout.flush()
    for _ in sys.stdin:
        for _ in range(count):
            connection = socket.create_connection((server, port), timeout=20)
            connection.sendall(b"x")
            assert connection.recv(1) == b"x"
            connections.append(connection)
        sys.stdout.write(f"{len(connections)}\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]))
