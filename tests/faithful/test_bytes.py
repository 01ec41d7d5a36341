"""Bytes: a gigabyte each way arrives as it left, a reader that is slow holds its sender back, flows do not mix.

The relay is the command line's, in a process of its own, whose memory can be looked at.
"""

from __future__ import annotations

import concurrent.futures
import contextlib
import select
import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from support.clients import FRONT_ENDS, ask
from support.origins import Origin, Recorder, read_exactly, read_to_end
from support.programs import ServedRelay, serve

pytestmark = pytest.mark.system

BLOCK_BYTES = 1 << 20
BLOCKS = 1024
BODY = bytes(range(256)) * (BLOCK_BYTES // 256 - 1)
SLOW_BLOCKS = 128
HELD_BACK_BYTES = 96 << 20
"""More than four kernels' buffers hold; a sender that got further was not held back."""
STUCK_MS = 500
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
def relayed(
    directory: Path, backend: str, front_end: str, origin: Origin, request: bytes = b""
) -> Iterator[tuple[ServedRelay, socket.socket]]:
    """A relay, and a connection through it that has sent `request`."""
    arguments = ("--profile", "transparent", "--backend", backend, "--forward", f"0:{origin.target}", "--quiet")
    with serve(directory, *arguments) as nat:
        port = nat.ports[1] if front_end == "forward" else nat.port
        with socket.create_connection(("127.0.0.1", port), timeout=60) as client:
            ask(client, front_end, origin.host, origin.port, early=request)
            yield nat, client


def peak_memory_bytes(nat: ServedRelay) -> int:
    """The most that the relay has held resident so far, VmHWM of proc(5)."""
    status = Path(f"/proc/{nat.process.pid}/status").read_text()
    return int(next(line for line in status.splitlines() if line.startswith("VmHWM")).split()[1]) * 1024


def expect_end(connection: socket.socket) -> None:
    assert connection.recv(1) == b"", "more came than was sent"


def read_head(connection: socket.socket) -> None:
    head = b""
    while not head.endswith(b"\r\n\r\n"):
        head += read_exactly(connection, 1)


@pytest.mark.parametrize("front_end", FRONT_ENDS)
def test_a_gigabyte_each_way_with_a_half_close_each_way(tmp_path: Path, backend: str, front_end: str) -> None:
    def swap(connection: socket.socket) -> None:
        receive_blocks(connection)
        expect_end(connection)
        send_blocks(connection)

    with Origin(swap) as origin, relayed(tmp_path, backend, front_end, origin) as (nat, client):
        before_bytes = peak_memory_bytes(nat)
        send_blocks(client)
        client.shutdown(socket.SHUT_WR)
        receive_blocks(client)
        expect_end(client)
        ended = nat.wait_for("flow-ended")
        assert (ended["bytes_out"], ended["bytes_in"]) == (BLOCKS * BLOCK_BYTES, BLOCKS * BLOCK_BYTES)
        assert peak_memory_bytes(nat) - before_bytes < GROWTH_BYTES


def test_plain_http_posts_a_gigabyte_and_gets_one(tmp_path: Path, backend: str) -> None:
    length = BLOCKS * BLOCK_BYTES

    def serve_both(connection: socket.socket) -> None:
        read_head(connection)
        receive_blocks(connection)
        connection.sendall(b"HTTP/1.1 204 No Content\r\n\r\n")
        read_head(connection)
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % length)
        send_blocks(connection)

    with Origin(serve_both) as origin:
        url = f"http://{origin.target}/"
        post = f"POST {url} HTTP/1.1\r\nHost: {origin.target}\r\nContent-Length: {length}\r\n\r\n"
        with relayed(tmp_path, backend, "http", origin, post.encode()) as (nat, client):
            before_bytes = peak_memory_bytes(nat)
            send_blocks(client)
            read_head(client)
            client.sendall(f"GET {url} HTTP/1.1\r\nHost: {origin.target}\r\n\r\n".encode())
            client.shutdown(socket.SHUT_WR)
            read_head(client)
            receive_blocks(client)
            expect_end(client)
            assert peak_memory_bytes(nat) - before_bytes < GROWTH_BYTES


def test_plain_http_counts_what_the_origin_is_sent_heads_and_all(tmp_path: Path, backend: str) -> None:
    recorder = Recorder()
    with Origin(recorder) as origin:
        post = f"POST http://{origin.target}/ HTTP/1.1\r\nHost: {origin.target}\r\nContent-Length: 5\r\n\r\nhello"
        with relayed(tmp_path, backend, "http", origin, post.encode()) as (nat, client):
            client.shutdown(socket.SHUT_WR)
            [received] = recorder.take()
            assert received.data.endswith(b"\r\n\r\nhello")
            assert nat.wait_for("flow-ended")["bytes_out"] == len(received.data)


def send_to_a_sluggard(connection: socket.socket, stuck: threading.Event) -> int:
    """Send, and say when nothing is taken any more; returns how much had been taken then."""
    poll = select.poll()
    poll.register(connection, select.POLLOUT)
    sent_bytes = taken_bytes = 0
    for number in range(SLOW_BLOCKS):
        with memoryview(block(number)) as data:
            at = 0
            while at < BLOCK_BYTES:
                if not stuck.is_set() and not poll.poll(STUCK_MS):
                    taken_bytes = sent_bytes
                    stuck.set()
                count = connection.send(data[at:])
                at += count
                sent_bytes += count
    return taken_bytes


@pytest.mark.parametrize("front_end", ["forward", "http"])
def test_a_slow_server_holds_the_client_back(tmp_path: Path, backend: str, front_end: str) -> None:
    stuck, done = threading.Event(), threading.Event()
    request = b""

    def read_late(connection: socket.socket) -> None:
        if request:
            read_head(connection)
        assert stuck.wait(30), "the client was never held back"
        receive_blocks(connection, SLOW_BLOCKS)
        done.set()

    with Origin(read_late) as origin:
        if front_end == "http":
            length = SLOW_BLOCKS * BLOCK_BYTES
            head = f"PUT http://{origin.target}/ HTTP/1.1\r\nHost: {origin.target}\r\n"
            request = f"{head}Content-Length: {length}\r\n\r\n".encode()
        with relayed(tmp_path, backend, front_end, origin, request) as (nat, client):
            before_bytes = peak_memory_bytes(nat)
            assert send_to_a_sluggard(client, stuck) < HELD_BACK_BYTES
            assert done.wait(30)
            assert peak_memory_bytes(nat) - before_bytes < GROWTH_BYTES


@pytest.mark.parametrize("front_end", ["forward", "http"])
def test_a_slow_client_holds_the_server_back(tmp_path: Path, backend: str, front_end: str) -> None:
    stuck = threading.Event()
    taken: list[int] = []
    request = b""

    def pour(connection: socket.socket) -> None:
        if request:
            read_head(connection)
            connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % (SLOW_BLOCKS * BLOCK_BYTES))
        taken.append(send_to_a_sluggard(connection, stuck))

    with Origin(pour) as origin:
        if front_end == "http":
            request = f"GET http://{origin.target}/ HTTP/1.1\r\nHost: {origin.target}\r\n\r\n".encode()
        with relayed(tmp_path, backend, front_end, origin, request) as (nat, client):
            before_bytes = peak_memory_bytes(nat)
            assert stuck.wait(30), "the server was never held back"
            if request:
                read_head(client)
            receive_blocks(client, SLOW_BLOCKS)
            assert peak_memory_bytes(nat) - before_bytes < GROWTH_BYTES
    assert 0 < taken[0] < HELD_BACK_BYTES


def test_two_hundred_flows_at_once_each_keep_their_own_data(tmp_path: Path, backend: str) -> None:
    all_connected = threading.Barrier(FLOWS)

    def send_back(connection: socket.socket) -> None:
        connection.sendall(read_to_end(connection))

    with Origin(send_back) as origin:
        arguments = ("--profile", "transparent", "--backend", backend, "--forward", f"0:{origin.target}", "--quiet")
        with serve(tmp_path, *arguments) as nat:

            def swap(number: int) -> bool:
                front_end = FRONT_ENDS[number % len(FRONT_ENDS)]
                port = nat.ports[1] if front_end == "forward" else nat.port
                with socket.create_connection(("127.0.0.1", port), timeout=60) as client:
                    ask(client, front_end, origin.host, origin.port)
                    all_connected.wait(30)
                    data = block(number)
                    client.sendall(data)
                    client.shutdown(socket.SHUT_WR)
                    return read_to_end(client) == data

            with concurrent.futures.ThreadPoolExecutor(FLOWS) as clients:
                assert all(clients.map(swap, range(FLOWS)))
        assert origin.accepted == FLOWS
