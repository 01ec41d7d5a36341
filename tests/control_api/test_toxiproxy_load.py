"""1,000 toxics that come and go while a connection carries what it can; 30 unless RELAY_SOAK=1."""

from __future__ import annotations

import hashlib
import os
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from support.control_client import Client
from support.origins import Origin, echo
from support.programs import serve

pytestmark = pytest.mark.system

SOAK = os.environ.get("RELAY_SOAK") == "1"
CHANGES = 1000 if SOAK else 30


@pytest.mark.soak
@pytest.mark.parametrize("backend", ["asyncio", "trio"])
def test_toxics_that_come_and_go_under_load_neither_hang_nor_lose_a_byte(backend: str, tmp_path: Path) -> None:
    block, took_s = bytes(range(256)) * 256, []
    read, over = 0, threading.Event()
    with _steered(tmp_path, backend) as (client, listen), socket.create_connection(listen, 60) as app:
        toxics = "/proxies/one/toxics"
        received = hashlib.sha256()

        def read_on() -> None:
            nonlocal read
            while piece := app.recv(1 << 18):
                received.update(piece)
                read += len(piece)

        sent, sent_bytes = hashlib.sha256(), 0
        reader = threading.Thread(target=read_on, daemon=True)
        reader.start()

        def write_on() -> None:
            nonlocal sent_bytes
            while not over.is_set():
                app.sendall(block)
                sent.update(block)
                sent_bytes += len(block)
            app.shutdown(socket.SHUT_WR)

        writer = threading.Thread(target=write_on, daemon=True)
        writer.start()
        for _ in range(CHANGES):
            for ask in (
                ("POST", toxics, {"type": "latency", "attributes": {"latency": 5, "jitter": 5}}),
                ("DELETE", f"{toxics}/latency_downstream"),
            ):
                began_s = time.monotonic()
                assert client.ask(*ask).status in {200, 204}
                took_s.append(time.monotonic() - began_s)
        over.set()
        for thread in (writer, reader):
            thread.join(60)
        assert (read, received.digest()) == (sent_bytes, sent.digest())
        assert sent_bytes > 0
    if SOAK:
        assert sorted(took_s)[int(0.99 * len(took_s))] < 0.05


@contextmanager
def _steered(folder: Path, backend: str) -> Iterator[tuple[Client, tuple[str, int]]]:
    """A relay in a process of its own: its client, and where its proxy listens."""
    with serve(folder, "--backend", backend, "--control", "127.0.0.1:0") as served, Origin(echo) as origin:
        client = Client(f"http://127.0.0.1:{served.ports[-1]}")
        made = client.ask("POST", "/proxies", {"name": "one", "upstream": origin.target})
        yield client, ("127.0.0.1", int(made.json["listen"].rpartition(":")[2]))
