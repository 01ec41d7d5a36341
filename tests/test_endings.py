"""How flows end, as the event log tells it: every end has its cause, and each side how and because of what it ended."""

from __future__ import annotations

import socket
from collections.abc import Mapping
from typing import Any

import pytest

from relay.log.text import describe
from relay.testing import RunningRelay, serve_in_thread
from support.origins import Origin, read_exactly, read_to_end

_OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi"


class Answering:
    """An origin's handler: answers each request, and keeps what was asked."""

    def __init__(self) -> None:
        self.asked = bytearray()

    def __call__(self, connection: socket.socket) -> None:
        while data := connection.recv(4096):
            self.asked += data
            if self.asked.endswith(b"\r\n\r\n"):
                connection.sendall(_OK)


def get(sock: socket.socket, origin: Origin, *fields: str) -> None:
    lines = [f"GET http://{origin.target}/ HTTP/1.1", f"Host: {origin.target}", *fields, "", ""]
    sock.sendall("\r\n".join(lines).encode())
    assert read_exactly(sock, len(_OK)).endswith(b"\r\n\r\nhi")


def sides_of(ended: Mapping[str, Any]) -> tuple[Any, ...]:
    return tuple(ended[field] for field in ("internal", "internal_because", "external", "external_because"))


@pytest.fixture
def nat(backend: str) -> Any:
    with serve_in_thread("transparent", backend=backend) as nat:
        yield nat


def test_a_client_that_asks_another_server_next_has_not_ended(nat: RunningRelay) -> None:
    answering, others = Answering(), Answering()
    with (
        Origin(answering) as origin,
        Origin(others) as other,
        socket.create_connection(nat.address, timeout=60) as client,
    ):
        get(client, origin)
        get(client, other, "X-Filler: " + "x" * 1000)
        ended = nat.wait_for("flow-ended", flow=1)
        assert sides_of(ended.fields) == ("handed-over", "next-request", "fin", "next-request")
        assert (ended.fields["bytes_out"], ended.fields["bytes_in"]) == (len(answering.asked), len(_OK))
        assert "app handed-over by next-request, server fin by next-request" in describe(ended)
        client.shutdown(socket.SHUT_WR)
        ended = nat.wait_for("flow-ended", flow=2)
        assert (ended.fields["bytes_out"], ended.fields["bytes_in"]) == (len(others.asked), len(_OK))


def test_a_malformed_request_ends_both_sides_in_order(nat: RunningRelay) -> None:
    answering = Answering()
    with Origin(answering) as origin, socket.create_connection(nat.address, timeout=60) as client:
        get(client, origin)
        client.sendall(b"GET / HTTP/1.1\r\nno field\r\n\r\n")
        assert b"HTTP/1.1 400 " in read_to_end(client)
        ended = nat.wait_for("flow-ended", because="protocol-error").fields
        assert sides_of(ended) == ("fin", "protocol-error", "fin", "protocol-error")
        assert ended["bytes_out"] == len(answering.asked)


def test_a_handshake_that_fails_ends_a_flow(nat: RunningRelay) -> None:
    with socket.create_connection(nat.address, timeout=60) as client:
        client.sendall(b"GARBAGE / nonsense\r\n\r\n")
        read_to_end(client)
        ended = nat.wait_for("flow-ended", because="handshake-failed").fields
        assert (ended["destination"], *sides_of(ended)) == (None, "fin", "handshake-failed", None, None)


def test_a_flow_that_asked_for_nothing_has_no_destination(backend: str) -> None:
    with socket.socket() as sock, serve_in_thread(backend=backend) as nat:
        sock.connect(nat.address)
        sock.sendall(b"\x05\x01\x00")
        assert read_exactly(sock, 2) == b"\x05\x00"
    ended = nat.wait_for("flow-ended")
    assert ended.fields["destination"] is None
    assert describe(ended).startswith("ended by shutdown: no destination, app rst by shutdown, 0 B out")
