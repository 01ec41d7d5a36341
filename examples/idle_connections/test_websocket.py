"""A websocket that only waits gets no news after a quiet while; one with pings keeps its connection.

    pip install vmnat-relay pytest websockets
    python -m pytest test_websocket.py

Works on every system.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator

import pytest
from websockets.exceptions import ConnectionClosed, ConnectionClosedError
from websockets.sync.client import connect
from websockets.sync.server import ServerConnection, serve

from relay.testing import RunningRelay

SEEN = {
    "aws-nat-gateway": TimeoutError,  # one that waits hears nothing of the NAT
    "docker-desktop": ConnectionClosedError,  # FIN
    "azure-load-balancer": TimeoutError,
}


@pytest.fixture
def news() -> threading.Event:
    """Once it is set, the server sends each client a line."""
    return threading.Event()


@pytest.fixture
def server(news: threading.Event) -> Iterator[tuple[str, int]]:
    def handle(client: ServerConnection) -> None:
        news.wait()
        with contextlib.suppress(ConnectionClosed):
            client.send("it rains")

    with serve(handle, "127.0.0.1", 0, ping_interval=None, close_timeout=0.1) as listening:
        threading.Thread(target=listening.serve_forever).start()
        yield listening.socket.getsockname()
        news.set()


@pytest.mark.nat_relay(list(SEEN))
def test_a_websocket_that_waits_gets_no_news(
    nat_relay: RunningRelay, server: tuple[str, int], news: threading.Event
) -> None:
    host, port = nat_relay.forward(*server)
    with connect(f"ws://{host}:{port}", ping_interval=None, close_timeout=0.1) as websocket:
        nat_relay.advance(350)
        news.set()
        with pytest.raises(SEEN[nat_relay.profile.name]):
            websocket.recv(timeout=1)


@pytest.mark.nat_relay(list(SEEN))
def test_one_with_pings_gets_them(nat_relay: RunningRelay, server: tuple[str, int], news: threading.Event) -> None:
    host, port = nat_relay.forward(*server)
    with connect(f"ws://{host}:{port}", ping_interval=None) as websocket:
        for _ in range(6):
            nat_relay.advance(60)
            assert websocket.ping().wait(timeout=5)  # in the app ping_interval=60 does it
        news.set()
        assert websocket.recv(timeout=5) == "it rains"
