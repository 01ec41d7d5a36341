"""However a flow ends, the relay gives its descriptors back."""

from __future__ import annotations

import contextlib
import socket
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from support.capabilities import missing
from support.origins import Origin, read_exactly, read_to_end, reset
from support.programs import serve

pytestmark = pytest.mark.system

FLOWS = 5
_GIVEN_BACK_S = 3.0  # less than a leg has that winds down without its peer


def finish(connection: socket.socket) -> None:
    connection.shutdown(socket.SHUT_WR)
    read_to_end(connection)


def wait_for_end(connection: socket.socket) -> None:
    with contextlib.suppress(ConnectionResetError):
        read_to_end(connection)


ENDINGS = {
    "fin from the app": (finish, wait_for_end),
    "fin from the server": (wait_for_end, finish),
    "rst from the app": (reset, wait_for_end),
    "rst from the server": (wait_for_end, reset),
}


@pytest.mark.parametrize("profile", ["vmware-fusion", "transparent"])
@pytest.mark.parametrize(("app", "server"), ENDINGS.values(), ids=ENDINGS)
def test_both_sockets_of_a_flow_are_closed_when_it_is_over(
    tmp_path: Path,
    backend: str,
    profile: str,
    app: Callable[[socket.socket], None],
    server: Callable[[socket.socket], None],
) -> None:
    if sys.platform != "linux":
        missing("descriptors are counted in /proc")

    def answer_and_end(connection: socket.socket) -> None:
        connection.sendall(read_exactly(connection, 5))
        server(connection)

    arguments = ("--profile", profile, "--backend", backend)
    with Origin(answer_and_end) as origin, serve(tmp_path, *arguments, "--forward", f"0:{origin.target}") as nat:
        descriptors = Path(f"/proc/{nat.process.pid}/fd")
        before = len(list(descriptors.iterdir()))
        for _ in range(FLOWS):
            with socket.create_connection(("127.0.0.1", nat.ports[1]), timeout=60) as sock:
                sock.sendall(b"hello")
                assert read_exactly(sock, 5) == b"hello"
                app(sock)
        deadline_s = time.monotonic() + _GIVEN_BACK_S
        while (now := len(list(descriptors.iterdir()))) > before:  # fewer: what the start itself had open
            assert time.monotonic() < deadline_s, f"{now} descriptors, and {before} before {FLOWS} flows"
            time.sleep(0.01)  # no event reports that another process closes a descriptor
