"""Six quiet minutes in milliseconds: what an app sees of a slow answer, and of a connection that was kept for later."""

from __future__ import annotations

import queue
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from relay.testing import RunningRelay, serve_in_thread
from support.origins import Origin, read_exactly

_PATIENCE_S = 0.05
"""The client's own timeout."""
_SOON_S = 20.0  # real seconds for all of it, on a busy host; the time that passes for the NAT is 350 s and more


@contextmanager
def asked(nat: RunningRelay) -> Iterator[tuple[socket.socket, socket.socket]]:
    """A client whose request has arrived, and the server's end, which has not answered yet."""
    accepted, over = queue.Queue[socket.socket](), threading.Event()

    def hold(connection: socket.socket) -> None:
        assert connection.recv(1) == b"?"
        accepted.put(connection)
        over.wait(60)

    with Origin(hold) as origin, socket.create_connection(nat.forward(origin.host, origin.port), timeout=20) as client:
        client.sendall(b"?")
        try:
            yield client, accepted.get(timeout=20)
        finally:
            over.set()


def hears(sock: socket.socket, expected: str) -> str:
    """What comes; for nothing a moment is enough, and for all else a busy host may take its time."""
    sock.settimeout(_PATIENCE_S if expected == "nothing" else 60)
    try:
        return "an answer" if sock.recv(100) else "FIN"
    except TimeoutError:
        return "nothing"
    except ConnectionResetError:
        return "RST"


@pytest.mark.parametrize(
    ("profile", "reader", "next_writer"),
    [
        ("transparent", "an answer", "nothing"),
        ("aws-nat-gateway", "nothing", "RST"),
        ("azure-load-balancer", "nothing", "nothing"),
        ("docker-swarm", "nothing", "nothing"),
        ("docker-desktop", "FIN", "RST"),
    ],
)
def test_a_slow_answer_behind_each_nat(backend: str, profile: str, reader: str, next_writer: str) -> None:
    began_s = time.monotonic()
    with serve_in_thread(profile, backend=backend) as nat, asked(nat) as (client, server):
        nat.advance(900)
        server.sendall(b"the answer")
        assert hears(client, reader) == reader, "until the client's own timeout"
        client.sendall(b"?")
        if next_writer == "RST":
            assert hears(client, next_writer) in {"RST", "FIN"}
            with pytest.raises(ConnectionError):
                client.sendall(b"?")
        else:
            assert hears(client, next_writer) == next_writer
    assert time.monotonic() - began_s < _SOON_S


def test_an_answer_in_time_is_heard(backend: str) -> None:
    with serve_in_thread("aws-nat-gateway", backend=backend) as nat, asked(nat) as (client, server):
        nat.advance(349)
        server.sendall(b"!")
        client.settimeout(20)
        assert read_exactly(client, 1) == b"!"
        nat.advance(349)
        client.sendall(b"?")
        assert read_exactly(server, 1) == b"?"
