"""Bytes: a gigabyte each way arrives as it left, a reader that is slow holds its sender back, flows do not mix.

The relay is the command line's, in a process of its own, whose memory can be looked at.
"""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from support.clients import FRONT_ENDS, ask
from support.origins import Origin
from support.programs import ServedRelay, serve

BLOCK_BYTES = 1 << 20
BLOCKS = 1024
BODY = bytes(range(256)) * (BLOCK_BYTES // 256 - 1)
FLOWS = 200
GROWTH_BYTES = 8 << 20
"""How much the relay's memory may grow: a buffer a direction, and what the interpreter takes for itself."""


def block(number: int) -> bytearray:
    """The block of this number: none is like another, so that none can be lost, doubled or swapped unseen."""
    return bytearray(number.to_bytes(256) + BODY)


def send_blocks(connection: socket.socket, count: int = BLOCKS) -> None:
    data = block(0)
    for number in range(count):
        data[:256] = number.to_bytes(256)
        connection.sendall(data)


def receive_blocks(connection: socket.socket, count: int = BLOCKS) -> None:
    """Exactly these blocks, then nothing is read."""
    expected, received = block(0), bytearray(BLOCK_BYTES)
    with memoryview(received) as view:
        for number in range(count):
            filled = 0
            while filled < BLOCK_BYTES:
                got = connection.recv_into(view[filled:])
                assert got, f"the connection ended in block {number}"
                filled += got
            expected[:256] = number.to_bytes(256)
            assert received == expected, f"block {number} differs"


@contextlib.contextmanager
def relayed(directory: Path, backend: str, front_end: str, origin: Origin) -> Iterator[tuple[ServedRelay, socket.socket]]:
    """A relay and a connection through it."""
    arguments = ("--profile", "transparent", "--backend", backend, "--forward", f"0:{origin.target}", "--quiet")
    with serve(directory, *arguments) as nat:
        port = nat.ports[1] if front_end == "forward" else nat.port
        with socket.create_connection(("127.0.0.1", port), timeout=60) as client:
            ask(client, front_end, origin.host, origin.port)
            yield nat, client


def resident_bytes(nat: ServedRelay) -> int:
    """The relay's peak memory so far, proc(5) VmHWM."""
    status = Path(f"/proc/{nat.process.pid}/status").read_text()
    return int(next(line for line in status.splitlines() if line.startswith("VmHWM")).split()[1]) * 1024


def swap_a_gigabyte(connection: socket.socket) -> None:
    receive_blocks(connection)
    assert connection.recv(1) == b"", "more came than was sent"
    send_blocks(connection)


@pytest.mark.parametrize("front_end", FRONT_ENDS)
def test_a_gigabyte_each_way_with_a_half_close_each_way(tmp_path: Path, backend: str, front_end: str) -> None:
    with Origin(swap_a_gigabyte) as origin, relayed(tmp_path, backend, front_end, origin) as (nat, client):
        before_bytes = resident_bytes(nat)
        send_blocks(client)
        client.shutdown(socket.SHUT_WR)
        receive_blocks(client)
        assert client.recv(1) == b""
        ended = nat.wait_for("flow-ended")
        assert (ended["bytes_out"], ended["bytes_in"]) == (BLOCKS * BLOCK_BYTES, BLOCKS * BLOCK_BYTES)
        assert resident_bytes(nat) - before_bytes < GROWTH_BYTES
