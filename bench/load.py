"""An origin, and the loads that are put on it, through whatever stands between.

The origin does what the first byte of a connection says: U takes in all that comes, D sends `BULK_BYTES`, E echoes.
"""

from __future__ import annotations

import contextlib
import socket
import statistics
import threading
import time
from multiprocessing.connection import Connection

BULK_BYTES = 1 << 30
_BLOCK = bytes(1 << 20)
_CONNECTS = 1000
_ROUND_TRIPS = 2000
_MESSAGE = bytes(64)


def serve_origin(report: Connection) -> None:
    """Serve on a port of loopback that is picked and sent to `report`, for as long as the process lasts."""
    listener = socket.create_server(("127.0.0.1", 0), backlog=1024)
    report.send(listener.getsockname()[1])
    while True:
        connection, _ = listener.accept()
        threading.Thread(target=_answer, args=(connection,), daemon=True).start()


def _answer(connection: socket.socket) -> None:
    buffer = bytearray(1 << 20)
    with connection, contextlib.suppress(ConnectionError):
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        kind = connection.recv(1)
        if kind == b"U":
            while connection.recv_into(buffer):
                pass
        elif kind == b"D":
            for _ in range(BULK_BYTES // len(_BLOCK)):
                connection.sendall(_BLOCK)
        elif kind == b"E":
            connection.sendall(kind)
            while count := connection.recv_into(buffer):
                connection.sendall(memoryview(buffer)[:count])


def bulk_up(port: int) -> float:
    """GiB a second from one client to the origin."""
    with socket.create_connection(("127.0.0.1", port)) as sock:
        began_s = time.perf_counter()
        sock.sendall(b"U")
        for _ in range(BULK_BYTES // len(_BLOCK)):
            sock.sendall(_BLOCK)
        sock.shutdown(socket.SHUT_WR)
        sock.recv(1)
        return BULK_BYTES / 2**30 / (time.perf_counter() - began_s)


def bulk_down(port: int) -> float:
    """GiB a second from the origin to one client."""
    buffer, left = bytearray(1 << 20), BULK_BYTES
    with socket.create_connection(("127.0.0.1", port)) as sock:
        began_s = time.perf_counter()
        sock.sendall(b"D")
        while count := sock.recv_into(buffer):
            left -= count
        assert left == 0, f"{left} bytes did not arrive"
        return BULK_BYTES / 2**30 / (time.perf_counter() - began_s)


def connects(port: int) -> float:
    """Connections a second, one after the other, each with one byte there and back."""
    began_s = time.perf_counter()
    for _ in range(_CONNECTS):
        with socket.create_connection(("127.0.0.1", port)) as sock:
            sock.sendall(b"E")
            sock.recv(1)
    return _CONNECTS / (time.perf_counter() - began_s)


def ping_pong(port: int) -> float:
    """Median round trip of 64 bytes, in microseconds."""
    times_s = []
    with socket.create_connection(("127.0.0.1", port)) as sock:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        sock.sendall(b"E")
        sock.recv(1)
        for _ in range(_ROUND_TRIPS):
            began_s = time.perf_counter()
            sock.sendall(_MESSAGE)
            sock.recv(len(_MESSAGE))
            times_s.append(time.perf_counter() - began_s)
    return statistics.median(times_s) * 1e6
