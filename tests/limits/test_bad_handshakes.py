"""Clients whose handshake fails have time to read why, but only so many at once: they hold descriptors meanwhile."""

from __future__ import annotations

import socket
from contextlib import ExitStack, suppress
from pathlib import Path

from support.clients import Refused
from support.masses import check_serving, descriptor_count, wait_until
from support.origins import Origin, echo
from support.programs import serve

MOST = 10  # --max-flows
HEARD = 64  # surplus clients that have their answer
STAYING = 64  # those whose handshake has failed


def test_clients_that_stay_after_a_failed_handshake_hold_few_descriptors(backend: str, tmp_path: Path) -> None:
    with Origin(echo) as origin, serve(tmp_path, "--backend", backend, "--max-flows", str(MOST), log=False) as served:
        check_serving(served.port, origin.port)
        before = descriptor_count(served.process.pid)
        with ExitStack() as stack:
            for _ in range(300):
                with suppress(ConnectionError):  # the reset of one that is too many
                    client = stack.enter_context(socket.create_connection(("127.0.0.1", served.port), timeout=60))
                    client.sendall(b"\x05\x01\x80")
                    client.recv(2)  # its flow is over, and leaves its place in --max-flows to the next
            wait_until(
                lambda: descriptor_count(served.process.pid) <= before + MOST + HEARD + STAYING,
                lambda: f"{descriptor_count(served.process.pid)} descriptors, {before} before",
                timeout_s=3.0,  # less than the 5 s after which a lingering connection is closed anyway
            )
            wait_until(lambda: _serves(served.port, origin.port), lambda: "those who stay keep others out")


def _serves(port: int, target_port: int) -> bool:
    """Whether there is room for a flow; just now there may have been too many clients still to be turned away."""
    try:
        check_serving(port, target_port)
    except (ConnectionError, AssertionError, Refused):
        return False
    return True
