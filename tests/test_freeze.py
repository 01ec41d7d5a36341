"""A side is frozen whatever its flow is at, and gets after the thaw what it is owed."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from relay.testing import RunningRelay, serve_in_thread
from support.clients import connect, read_socks5_reply, socks5_request
from support.origins import Origin, black_hole, echo, read_exactly, read_until_over

GREETING = b"\x05\x01\x00"
SILENT_S = 0.15
TIMED_OUT = 0x06  # RFC 1928 section 6: TTL expired


@pytest.fixture
def nat(backend: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[RunningRelay]:
    monkeypatch.setattr("relay.legs.ending.WIND_DOWN_S", 0.05)  # less than each freeze here takes
    with serve_in_thread("transparent", backend=backend, connect_timeout_s=0.2, handshake_timeout_s=1.0) as nat:
        yield nat


def client(nat: RunningRelay) -> socket.socket:
    return socket.create_connection((nat.address.host, nat.address.port), timeout=60)


@pytest.mark.system
def test_a_refusal_that_fell_into_the_freeze_is_read_after_it(nat: RunningRelay) -> None:
    with black_hole() as port, client(nat) as early, client(nat) as late:
        for flow, sock in enumerate((early, late), start=1):
            sock.sendall(GREETING)
            assert read_exactly(sock, 2) == b"\x05\x00"
            if flow == 1:
                sock.sendall(socks5_request("127.0.0.1", port))
                nat.wait_for("flow-opened", flow=1)
        nat.freeze("internal")
        nat.wait_for("flow-ended", flow=1)
        nat.wait_for("handshake-failed", flow=2)  # later than the first leg would have been closed
        nat.thaw("internal")
        assert read_socks5_reply(early) == TIMED_OUT
        assert read_until_over(early) == (b"", "fin")


def test_a_client_that_comes_into_the_freeze_is_heard_after_it(nat: RunningRelay) -> None:
    nat.freeze("internal")
    with Origin(echo) as origin, ThreadPoolExecutor(1) as pool:
        comes = pool.submit(connect, nat, "socks5", origin.host, origin.port)
        with pytest.raises(AssertionError, match="no flow-opened"):
            nat.wait_for("flow-opened", timeout_s=SILENT_S)
        nat.thaw("internal")
        with comes.result(60) as sock:
            sock.sendall(b"hello")
            assert read_exactly(sock, 5) == b"hello"


def test_what_a_client_says_in_the_freeze_arrives_after_it(nat: RunningRelay) -> None:
    with Origin(echo) as origin:
        forwarded = nat.forward(origin.host, origin.port)
        nat.freeze("internal")
        with socket.create_connection(forwarded, timeout=60) as sock:
            sock.sendall(b"hello")
            nat.wait_for("flow-connected")
            sock.settimeout(SILENT_S)
            with pytest.raises(TimeoutError):
                sock.recv(1)
            nat.thaw("internal")
            sock.settimeout(60)
            assert read_exactly(sock, 5) == b"hello"
