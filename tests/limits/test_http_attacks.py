"""Plain HTTP that takes as much parsing as it can: an echo beside it is as quick as ever, within 20 ms.

Counted is how long the relay works until the echo is there, for on a busy host it waits for a processor, too.
"""

from __future__ import annotations

import contextlib
import itertools
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import h11
import pytest

from support import http_attacks
from support.clients import connect_by_port
from support.measuring import least, processor_s
from support.origins import Origin, echo, read_exactly
from support.programs import clean_environment, serve

_ECHOES = 100
_MAY_ADD_S = 0.020


@pytest.mark.parametrize("attack", http_attacks.ATTACKS)
def test_an_innocent_echo_is_answered_soon_while_another_client_attacks(
    attack: str, backend: str, tmp_path: Path
) -> None:
    with (
        Origin(echo) as origin,
        serve(tmp_path, "--backend", backend, log=False) as served,
        connect_by_port(served.port, "127.0.0.1", origin.port) as sock,
    ):
        pid = served.process.pid
        before_s = p99_s(sock, pid)
        with attacking(attack, served.port):
            during_s = least(lambda: p99_s(sock, pid), before_s + _MAY_ADD_S)
            assert during_s < before_s + _MAY_ADD_S, f"{during_s * 1e3:.1f} ms, and {before_s * 1e3:.1f} ms before"


@pytest.mark.parametrize("ends", [True, False], ids=["then a FIN", "kept"])
def test_tiny_chunks_arrive_whole_both_ways_and_so_do_the_requests_behind_them(
    ends: bool, backend: str, tmp_path: Path
) -> None:
    body = bytes(range(256)) * 16
    chunks = b"".join(b"1\r\n%c\r\n" % byte for byte in body) + b"0\r\n\r\n"

    def answer(connection: socket.socket) -> None:
        received = h11.Connection(h11.SERVER)
        while (request := read_message(received, connection)) is not None:
            assert request == body
            connection.sendall(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + chunks)
            received.send(h11.Response(status_code=200, headers=[("Content-Length", "0")]))
            received.send(h11.EndOfMessage())
            received.start_next_cycle()

    with (
        Origin(answer) as origin,
        serve(tmp_path, "--backend", backend, log=False) as served,
        socket.create_connection(("127.0.0.1", served.port), timeout=20) as sock,
    ):
        head = f"POST http://{origin.target}/ HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n".encode()
        sock.sendall((head + chunks) * 4)
        if ends:
            sock.shutdown(socket.SHUT_WR)
        responses = h11.Connection(h11.CLIENT)
        for _ in range(4):
            responses.send(h11.Request(method="POST", target="/", headers=[("Host", "x"), ("Content-Length", "0")]))
            responses.send(h11.EndOfMessage())
            assert read_message(responses, sock) == body
            responses.start_next_cycle()
        if ends:
            assert sock.recv(1) == b""


def read_message(http: h11.Connection, sock: socket.socket) -> bytes | None:
    """The next message's body; None if the connection ends instead."""
    body = b""
    while True:
        match http.next_event():
            case h11.NEED_DATA:
                http.receive_data(sock.recv(65536))
            case h11.Data(data=data):
                body += data
            case h11.EndOfMessage():
                return body
            case h11.ConnectionClosed():
                return None


def p99_s(sock: socket.socket, pid: int) -> float:
    """How long the relay works until an echo is there, all but the longest of a hundred, or of those in a second."""
    worked_s: list[float] = []
    until_s = time.monotonic() + 1
    while len(worked_s) < _ECHOES and (len(worked_s) < 2 or time.monotonic() < until_s):
        before_s = processor_s(pid)
        sock.sendall(b"x")
        read_exactly(sock, 1)
        worked_s.append(processor_s(pid) - before_s)
    return sorted(worked_s)[-2]


@contextlib.contextmanager
def attacking(attack: str, relay_port: int) -> Iterator[None]:
    """Have it attacked, from when the attack is under way until the block ends."""
    command = [sys.executable, http_attacks.__file__, attack, str(relay_port)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, env=clean_environment()) as process:
        assert process.stdout is not None
        try:
            for line in itertools.islice(process.stdout, 2):
                assert line == b"attacking\n"
            threading.Thread(target=process.stdout.read, daemon=True).start()
            yield
            assert process.poll() is None, "the attack has ended by itself"
        finally:
            process.kill()
