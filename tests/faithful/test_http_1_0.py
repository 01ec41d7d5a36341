"""HTTP/1.0 over real sockets: a client that asks for `keep-alive` keeps its connection, and its origin's is kept."""

from __future__ import annotations

import socket
import subprocess

import pytest

from relay.testing import serve_in_thread
from support.capabilities import need_program
from support.origins import Origin, read_exactly, read_until_over
from support.programs import run
from support.web import web

_TIMES = 5


def read_response(client: socket.socket) -> tuple[bytes, bytes]:
    """A response that says how long it is: its Connection field, and its body."""
    head = b""
    while not head.endswith(b"\r\n\r\n"):
        head += read_exactly(client, 1)
    fields = dict(line.lower().split(b": ", 1) for line in head.split(b"\r\n")[1:-2])
    return fields[b"connection"], read_exactly(client, int(fields[b"content-length"]))


@pytest.mark.parametrize("profile", ["transparent", "vmware-fusion"])
def test_requests_on_a_kept_connection_share_one_to_the_origin(profile: str, backend: str) -> None:
    with serve_in_thread(profile, backend=backend) as nat, Origin(web()) as origin:
        address = (nat.address.host, nat.address.port)
        with socket.create_connection(address, timeout=20) as client:
            for number in range(_TIMES):
                head = f"GET http://{origin.target}/{number} HTTP/1.0\r\nConnection: Keep-Alive\r\n\r\n"
                client.sendall(head.encode())
                assert read_response(client) == (b"keep-alive", b"GET /%d" % number)
            client.sendall(f"GET http://{origin.target}/last HTTP/1.0\r\n\r\n".encode())
            assert read_response(client) == (b"close", b"GET /last")
            assert read_until_over(client) == (b"", "fin")
        nat.wait_for("flow-ended")
        assert origin.accepted == len(nat.flows) == 1


def test_a_kept_client_goes_on_with_another_connection_when_its_origin_has_ended_one(backend: str) -> None:
    def answer_once(connection: socket.socket) -> None:
        connection.recv(65536)
        connection.sendall(b"HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nok")

    with serve_in_thread("transparent", backend=backend) as nat, Origin(answer_once) as origin:
        address = (nat.address.host, nat.address.port)
        with socket.create_connection(address, timeout=20) as client:
            for _ in range(_TIMES):
                client.sendall(f"GET http://{origin.target}/ HTTP/1.0\r\nConnection: keep-alive\r\n\r\n".encode())
                assert read_response(client) == (b"keep-alive", b"ok")
        assert origin.accepted == _TIMES


@pytest.mark.system
def test_a_real_client_keeps_its_connection(backend: str) -> None:
    need_program("ab")
    with serve_in_thread("transparent", backend=backend) as nat, Origin(web()) as origin:
        proxy = f"{nat.address.host}:{nat.address.port}"
        ab: subprocess.CompletedProcess[str] = run(
            "ab", "-q", "-k", "-n", "20", "-c", "2", "-X", proxy, f"http://{origin.target}/"
        )
        assert "Keep-Alive requests:    20" in ab.stdout, ab.stdout + ab.stderr
        assert origin.accepted == 2
