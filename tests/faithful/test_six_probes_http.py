"""The six probes in the dress of plain http: directly at the origin, and through the relay as a proxy."""

from __future__ import annotations

import queue
import re
import socket
from collections.abc import Callable
from typing import TypeAlias

import pytest

from relay.testing import RunningRelay, serve_in_thread
from support.origins import (
    Origin,
    read_exactly,
    read_to_end,
    read_until_over,
    refusing_port,
    reset,
    wait_until_acknowledged,
)

BODY = bytes(range(256)) * 1200

Ask: TypeAlias = Callable[..., socket.socket]
"""Connects, asks for a path of a port with a method, headers and the beginning of a body, all in one segment."""


def half_close_by_client(ask: Ask) -> object:
    """The client ends its request with a FIN; is it answered?"""

    def answer_at_end(connection: socket.socket) -> None:
        request = read_to_end(connection)
        connection.sendall(response(b"answer to " + request[:4]))

    with Origin(answer_at_end) as origin, ask(origin.port, "GET") as client:
        client.shutdown(socket.SHUT_WR)
        return body_and_ending(client)


def half_close_by_server(ask: Ask) -> object:
    """The server answers and ends its half while the client is still sending a body; does it get the rest?"""
    received: queue.Queue[bytes] = queue.Queue()

    def answer_early(connection: socket.socket) -> None:
        read_head(connection)
        connection.sendall(response(b"enough"))
        connection.shutdown(socket.SHUT_WR)
        received.put(read_exactly(connection, 20))

    with Origin(answer_early) as origin, ask(origin.port, "POST", length=20) as client:
        answer = body_and_ending(client)
        client.sendall(b"0123456789")
        client.sendall(b"0123456789")
        return answer, received.get(timeout=60)


def rst_by_server(ask: Ask) -> object:
    """The server resets amid its answer."""

    def break_off(connection: socket.socket) -> None:
        read_head(connection)
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n" + BODY)
        wait_until_acknowledged(connection)
        reset(connection)

    with Origin(break_off) as origin, ask(origin.port, "GET") as client:
        return body_and_ending(client)


def rst_by_client(ask: Ask) -> object:
    """The client resets amid its body."""
    received: queue.Queue[tuple[bytes, str]] = queue.Queue()

    def read_on(connection: socket.socket) -> None:
        read_head(connection)
        received.put(read_until_over(connection))

    with Origin(read_on) as origin:
        with ask(origin.port, "POST", length=1_000_000, begin=BODY) as client:
            wait_until_acknowledged(client)
            reset(client)
        return received.get(timeout=60)


def early_bytes(ask: Ask) -> object:
    """The body is in the segment that asks for the connection."""

    def echo_ten(connection: socket.socket) -> None:
        read_head(connection)
        connection.sendall(response(read_exactly(connection, 10)))

    with Origin(echo_ten) as origin, ask(origin.port, "POST", length=10, begin=b"early word") as client:
        read_head(client)
        return read_exactly(client, 10)  # a proxy may keep the connection for the next request


WITHOUT_RELAY: dict[Callable[[Ask], object], object] = {
    half_close_by_client: (b"answer to GET ", "fin"),
    half_close_by_server: ((b"enough", "fin"), b"01234567890123456789"),
    rst_by_server: (BODY, "rst"),
    rst_by_client: (BODY, "rst"),
    early_bytes: b"early word",
}


@pytest.mark.parametrize("probe", WITHOUT_RELAY, ids=lambda probe: probe.__name__)
def test_the_expectations_are_what_a_direct_request_gives(probe: Callable[[Ask], object]) -> None:
    def ask(port: int, method: str, *, length: int = 0, begin: bytes = b"") -> socket.socket:
        return send_head(("127.0.0.1", port), f"{method} /path", port, length, begin)

    assert probe(ask) == WITHOUT_RELAY[probe]


@pytest.mark.parametrize("probe", WITHOUT_RELAY, ids=lambda probe: probe.__name__)
def test_a_probe_finds_through_the_proxy_what_it_finds_without(
    transparent: RunningRelay, probe: Callable[[Ask], object]
) -> None:
    def ask(port: int, method: str, *, length: int = 0, begin: bytes = b"") -> socket.socket:
        proxy = (transparent.address.host, transparent.address.port)
        return send_head(proxy, f"{method} http://127.0.0.1:{port}/path", port, length, begin)

    assert probe(ask) == WITHOUT_RELAY[probe]


def test_a_rst_behind_the_fin_of_pipelined_requests_reaches_a_server_that_is_silent(backend: str) -> None:
    """The second request still waits for the first one's response, so the FIN has not been passed on either."""
    received: queue.Queue[tuple[bytes, str]] = queue.Queue()

    def fall_silent(connection: socket.socket) -> None:
        read_head(connection)
        received.put(read_until_over(connection))

    with serve_in_thread("transparent", backend=backend) as nat, Origin(fall_silent) as origin:
        target = f"GET http://127.0.0.1:{origin.port}/"
        second = f"{target} HTTP/1.1\r\nHost: 127.0.0.1:{origin.port}\r\n\r\n".encode()
        with send_head((nat.address.host, nat.address.port), target, origin.port, 0, second) as client:
            nat.wait_for("flow-connected")
            client.shutdown(socket.SHUT_WR)
            reset(client)
        assert received.get(timeout=60) == (b"", "rst")


def test_a_pipelined_body_that_takes_many_turns_is_passed_on_whole_behind_the_clients_fin(backend: str) -> None:
    chunks = b"1\r\nx\r\n" * 5000
    received: queue.Queue[int] = queue.Queue()
    asked: queue.Queue[None] = queue.Queue()

    def answer_both(connection: socket.socket) -> None:
        read_head(connection)
        asked.get(timeout=60)
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
        read_head(connection)
        received.put(read_to_end(connection).count(b"x"))

    with serve_in_thread("transparent", backend=backend) as nat, Origin(answer_both) as origin:
        target = f"http://127.0.0.1:{origin.port}/"
        head = f"POST {target} HTTP/1.1\r\nHost: 127.0.0.1:{origin.port}\r\nTransfer-Encoding: chunked\r\n\r\n"
        second = head.encode() + chunks + b"0\r\n\r\n"
        with send_head((nat.address.host, nat.address.port), f"GET {target}", origin.port, 0, second) as client:
            client.shutdown(socket.SHUT_WR)
            wait_until_acknowledged(client)
            asked.put(None)
            assert received.get(timeout=60) == 5000


def test_a_refusal_is_a_502_that_says_so(transparent: RunningRelay) -> None:
    proxy = (transparent.address.host, transparent.address.port)
    with refusing_port() as port, send_head(proxy, f"GET http://127.0.0.1:{port}/", port, 0, b"") as client:
        answer, how = read_until_over(client)
    assert (answer.split()[1], how) == (b"502", "fin")
    assert re.search(rb"refused.*127\.0\.0\.1:%d" % port, answer)


def send_head(address: tuple[str, int], method_and_target: str, port: int, length: int, begin: bytes) -> socket.socket:
    client = socket.create_connection(address, timeout=20)
    framing = f"Content-Length: {length}\r\n" if length else ""
    head = f"{method_and_target} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\n{framing}\r\n"
    client.sendall(head.encode() + begin)
    return client


def read_head(connection: socket.socket) -> bytes:
    head = b""
    while not head.endswith(b"\r\n\r\n"):
        head += read_exactly(connection, 1)
    return head


def response(body: bytes) -> bytes:
    return b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: %d\r\n\r\n" % len(body) + body


def body_and_ending(client: socket.socket) -> tuple[bytes, str]:
    answer, how = read_until_over(client)
    head, _, body = answer.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 200 ")
    return body, how
