"""Urgent data (RFC 9293 section 3.8.5): the mark itself does not pass, every byte around it does, spliced or copied."""

from __future__ import annotations

import socket

import pytest

from relay.net.pump import BULK_BYTES
from relay.testing import serve_in_thread
from support.clients import connect_by_port
from support.origins import Origin, read_exactly

AROUND = b"abcdef"


class Waiting:
    """An origin's handler that has the first bytes counted, and sends back the rest."""

    def __init__(self, first_bytes: int) -> None:
        self._first_bytes = first_bytes

    def __call__(self, connection: socket.socket) -> None:
        left = self._first_bytes
        while left:
            left -= len(connection.recv(min(left, 1 << 16)))
        connection.sendall(b"!")
        while data := connection.recv(1 << 16):
            connection.sendall(data)


@pytest.mark.parametrize("ends", ["at-once", "later"])
@pytest.mark.parametrize("size_bytes", [1, BULK_BYTES + (1 << 20)], ids=["copied", "spliced"])
def test_what_stands_around_an_urgent_byte_arrives(backend: str, size_bytes: int, ends: str) -> None:
    handler = Waiting(size_bytes)
    with (
        Origin(handler) as origin,
        serve_in_thread("transparent", backend=backend) as nat,
        connect_by_port(nat.address.port, "127.0.0.1", origin.port) as app,
    ):
        app.sendall(bytes(size_bytes))
        assert read_exactly(app, 1) == b"!"
        nat.freeze("internal")  # so that all of it is there when the relay looks
        app.sendall(AROUND[:3])
        app.send(b"?", socket.MSG_OOB)
        app.sendall(AROUND[3:])
        if ends == "at-once":
            app.shutdown(socket.SHUT_WR)
        nat.thaw("internal")
        assert read_exactly(app, len(AROUND)) == AROUND
        if ends == "later":
            app.sendall(b"more")
            app.shutdown(socket.SHUT_WR)
            assert read_exactly(app, 4) == b"more"
