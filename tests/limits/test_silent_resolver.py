"""A name server that never answers: the time that a connection may take is over before its name is resolved."""

from __future__ import annotations

import contextlib
import socket
import time
from pathlib import Path

import pytest

from support.capabilities import need_program
from support.clients import Refused, connect_by_port, crowd, socks5_request
from support.namespaces import in_own_network
from support.origins import Origin, echo, read_exactly
from support.programs import serve

_AT_ONCE = 64
TIMED_OUT = 0x06  # RFC 1928 section 6: TTL expired


def with_name_server_here(directory: Path, options: str = "") -> tuple[str, ...]:
    """The command that runs another where 127.0.0.1 is asked for names."""
    (directory / "resolv.conf").write_text(f"nameserver 127.0.0.1\n{options}\n")
    ask_nobody_else = f'mount --bind {directory}/resolv.conf /etc/resolv.conf && exec "$@"'
    return (need_program("unshare"), "-m", "sh", "-c", ask_nobody_else, "sh")


def names_asked(name_server: socket.socket) -> set[bytes]:
    """The first labels of all questions that have come."""
    labels = set()
    with contextlib.suppress(BlockingIOError):
        while question := name_server.recv(512):
            labels.add(question[13 : 13 + question[12]])
    return labels


def test_nobody_is_asked_for_callers_that_have_given_up(backend: str, tmp_path: Path) -> None:
    prefix = with_name_server_here(tmp_path, "options timeout:1 attempts:1")

    def play() -> None:
        with (
            socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as name_server,
            Origin(echo) as origin,
            serve(tmp_path, "--backend", backend, "--connect-timeout", "0.4", prefix=prefix) as nat,
            crowd(nat.port, _AT_ONCE + 40) as callers,
        ):
            name_server.setblocking(False)
            name_server.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 20)
            name_server.bind(("127.0.0.1", 53))
            for number, caller in enumerate(callers):
                caller.sendall(b"\x05\x01\x00" + socks5_request(f"silent{number}", 80))
            for caller in callers:
                assert read_exactly(caller, 4)[3] == TIMED_OUT
            deadline_s = time.monotonic() + 10
            while True:  # until there is a turn for it
                try:
                    connect_by_port(nat.port, "localhost", origin.port).close()
                    break
                except Refused:
                    assert time.monotonic() < deadline_s
            assert len(names_asked(name_server)) == _AT_ONCE

    in_own_network(play)


def test_the_limit_holds_for_the_name_too(backend: str, tmp_path: Path) -> None:
    prefix = with_name_server_here(tmp_path)

    def play() -> None:
        with (
            socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as name_server,
            Origin(echo) as origin,
            serve(tmp_path, "--backend", backend, "--connect-timeout", "0.5", prefix=prefix) as nat,
        ):
            name_server.bind(("127.0.0.1", 53))
            began_s = time.monotonic()
            with pytest.raises(Refused) as refused:
                connect_by_port(nat.port, "silent.example", origin.port)
            assert 0.5 <= time.monotonic() - began_s < 4, "the resolver gives up after 5 s and more"
            assert refused.value.code == TIMED_OUT
            assert name_server.recv(512), "it was asked"
            failed = nat.wait_for("dial-failed")
            assert failed["detail"] == "silent.example was not resolved within 0.5 s"
            with connect_by_port(nat.port, "127.0.0.1", origin.port) as app:
                app.sendall(b"on it goes")
                assert app.recv(100) == b"on it goes"
            stopped_s = time.monotonic()
        assert time.monotonic() - stopped_s < 3, "nor does it wait for the resolver when it is to stop"

    in_own_network(play)
