"""Toxiproxy's Python client, unmodified."""

from __future__ import annotations

import json
import socket
import time

import pytest
from toxiproxy import Toxiproxy
from toxiproxy.exceptions import InvalidToxic, NotFound, ProxyExists

from relay.testing import RunningRelay
from support.control_client import Client
from support.origins import Origin, echo, read_exactly

pytestmark = pytest.mark.system


def test_the_python_client(nat: RunningRelay, client: Client) -> None:
    toxiproxy = Toxiproxy()
    toxiproxy.update_api_consumer(*client.address)
    assert toxiproxy.running()
    assert json.loads(toxiproxy.version()) == {"version": "2.12.0"}
    with Origin(echo) as origin:
        proxy = toxiproxy.create(upstream=origin.target, name="one")
        host, _, port = proxy.listen.rpartition(":")
        with pytest.raises(ProxyExists):
            toxiproxy.create(upstream=origin.target, name="one")
        proxy.add_toxic(type="latency", attributes={"latency": 100})
        assert proxy.get_toxic("latency_downstream").attributes == {"latency": 100, "jitter": 0}
        with socket.create_connection((host, int(port)), 60) as app:
            began_s = time.monotonic()
            app.sendall(b"slow")
            assert read_exactly(app, 4) == b"slow"
            assert time.monotonic() - began_s >= 0.1
            with pytest.raises(InvalidToxic):
                proxy.add_toxic(type="earthquake")
            proxy.destroy_toxic("latency_downstream")
            with pytest.raises(NotFound):
                proxy.destroy_toxic("latency_downstream")
            with proxy.down():
                assert app.recv(1) == b""
                with pytest.raises(ConnectionRefusedError):
                    socket.create_connection((host, int(port)), 60)
            socket.create_connection((host, int(port)), 60).close()
        toxiproxy.populate([{"name": "two", "upstream": origin.target, "listen": "127.0.0.1:0"}])
        assert set(toxiproxy.proxies()) == {"one", "two"}
        toxiproxy.reset()
        toxiproxy.destroy_all()
        assert toxiproxy.proxies() == {}
    assert nat.forward_addresses == []
