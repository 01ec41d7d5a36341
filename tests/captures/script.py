"""One end of a replay: it sends so many bytes when a trace says so, but not before it has what came before."""

from __future__ import annotations

import socket
import time


class Play:
    """The end of this connection, in a session that began at `began_s` on the monotonic clock."""

    def __init__(self, connection: socket.socket, began_s: float) -> None:
        self._connection = connection
        self._began_s = began_s
        self.received_bytes = 0

    def receive(self, upto_bytes: int) -> None:
        """Wait until so many bytes have come in all."""
        while self.received_bytes < upto_bytes:
            data = self._connection.recv(upto_bytes - self.received_bytes)
            if not data:
                raise AssertionError(f"the connection ended after {self.received_bytes} bytes")
            self.received_bytes += len(data)

    def send(self, size: int, at_s: float) -> None:
        """Send so many bytes at this time of the session, or now if that is past."""
        time.sleep(max(0.0, self._began_s + at_s - time.monotonic()))
        self._connection.sendall(bytes(size))
