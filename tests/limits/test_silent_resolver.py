"""A name server that never answers: the time that a connection may take is over before its name is resolved."""

from __future__ import annotations

import socket
import time
from pathlib import Path

import pytest

from support.capabilities import need_program
from support.clients import Refused, connect_by_port
from support.namespaces import in_own_network
from support.origins import Origin, echo
from support.programs import serve

TIMED_OUT = 0x06  # RFC 1928 section 6: TTL expired


def test_the_limit_holds_for_the_name_too(backend: str, tmp_path: Path) -> None:
    (tmp_path / "resolv.conf").write_text("nameserver 127.0.0.1\n")
    ask_nobody_else = f'mount --bind {tmp_path}/resolv.conf /etc/resolv.conf && exec "$@"'
    prefix = (need_program("unshare"), "-m", "sh", "-c", ask_nobody_else, "sh")

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
