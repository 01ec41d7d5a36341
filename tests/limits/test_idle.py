"""`--idle-timeout`: a flow that carries no byte, either way, is reset; one that carries any lives."""

from __future__ import annotations

import queue
import socket
import threading
import time
from pathlib import Path

import pytest

from relay.testing import serve_in_thread
from support.clients import Refused, connect
from support.masses import Steady, mass_clients, mass_origin
from support.origins import Origin, Recorder, black_hole, read_exactly, read_to_end
from support.programs import serve

_LIMIT_S = 0.6
_LONG_S = 3600.0  # by the NAT's clock alone, which these tests move on
_WORDS = 5
_MUCH_BYTES = 1 << 20  # more than the client's buffers take, less than the relay's kernel does
_IDLE, _BUSY = 500, 4


@pytest.mark.parametrize("front_end", ["forward", "socks5"])
@pytest.mark.parametrize("profile", ["vmware-fusion", "transparent"])
def test_a_flow_that_lies_idle_is_reset_on_both_sides_and_says_why(profile: str, front_end: str, backend: str) -> None:
    recorder = Recorder()
    with (
        Origin(recorder) as origin,
        serve_in_thread(profile, backend=backend, idle_timeout_s=_LONG_S) as nat,
        connect(nat, front_end, origin.host, origin.port) as sock,
    ):
        sock.sendall(b"x")
        assert read_exactly(sock, 1) == b"x"
        nat.advance(_LONG_S - 1)
        assert nat.flow_count == 1
        nat.advance(_LONG_S / 4 + 1)
        with pytest.raises(ConnectionResetError):
            sock.recv(1)
        assert recorder.take()[0].how == "rst"
        ended = nat.wait_for("flow-ended").fields
        assert {ended[key] for key in ("because", "internal_because", "external_because")} == {"idle-timeout"}


def test_half_a_flow_that_is_left_is_idle_too(backend: str) -> None:
    def keep_open(connection: socket.socket) -> None:
        assert connection.recv(1) == b""
        until_reset.wait(60)

    until_reset = threading.Event()
    with (
        Origin(keep_open) as origin,
        serve_in_thread(backend=backend, idle_timeout_s=_LONG_S) as nat,
        connect(nat, "socks5", origin.host, origin.port) as sock,
    ):
        sock.shutdown(socket.SHUT_WR)
        nat.wait_for("fin-received")
        nat.advance(2 * _LONG_S)
        with pytest.raises(ConnectionResetError):
            sock.recv(1)
        until_reset.set()
        ended = nat.wait_for("flow-ended").fields
        assert ended["because"] == "internal-peer"  # what began the end
        assert (ended["internal_because"], ended["external_because"]) == ("idle-timeout", "idle-timeout")


@pytest.mark.parametrize("front_end", ["forward", "socks5"])
@pytest.mark.parametrize("speaker", ["app", "server"])
def test_a_byte_either_way_now_and_then_keeps_it(speaker: str, front_end: str, backend: str) -> None:
    accepted, over = queue.Queue[socket.socket](), threading.Event()

    def hand_over(connection: socket.socket) -> None:
        accepted.put(connection)
        over.wait(20)

    with (
        Origin(hand_over) as origin,
        serve_in_thread(backend=backend, idle_timeout_s=_LONG_S) as nat,
        connect(nat, front_end, origin.host, origin.port) as sock,
    ):
        server = accepted.get(timeout=20)
        says, hears = (sock, server) if speaker == "app" else (server, sock)
        for _ in range(_WORDS):
            says.sendall(b"x")
            assert read_exactly(hears, 1) == b"x"
            nat.advance(_LONG_S / 2)
        assert nat.flow_count == 1
        over.set()


def test_a_slow_reader_of_what_waits_in_the_kernel_is_not_idle(backend: str) -> None:
    """The server is done at once; from then on the relay itself has nothing to carry."""
    with (
        Origin(lambda connection: connection.sendall(bytes(_MUCH_BYTES))) as origin,
        serve_in_thread(backend=backend, idle_timeout_s=_LIMIT_S) as nat,
        socket.socket() as sock,
    ):
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 32 * 1024)  # what is not read waits with the relay
        sock.settimeout(60)
        sock.connect(nat.forward(origin.host, origin.port))
        nat.wait_for("fin-received", side="external")
        began_s, received = time.monotonic(), 0
        while data := sock.recv(16 * 1024):
            received += len(data)
            if time.monotonic() - began_s < 4 * _LIMIT_S:
                time.sleep(_LIMIT_S / 8)  # the pace is the point
        assert received == _MUCH_BYTES
        sock.shutdown(socket.SHUT_WR)
        assert nat.wait_for("flow-ended").fields["because"] == "external-peer"


def test_who_is_still_asking_or_dialling_is_not_idle_but_under_other_limits(backend: str) -> None:
    with (
        black_hole() as port,
        serve_in_thread(backend=backend, idle_timeout_s=0.2, handshake_timeout_s=1, connect_timeout_s=1) as nat,
    ):
        with pytest.raises(Refused):
            connect(nat, "socks5", "127.0.0.1", port).close()
        with socket.create_connection(nat.address, timeout=60) as silent:
            assert read_to_end(silent) == b""
        nat.wait_for("handshake-failed", reason="no request within 1 s")
        assert nat.wait_for("dial-failed").fields["failure"] == "timed out"


def test_hundreds_of_idle_flows_end_while_busy_ones_go_on(backend: str, tmp_path: Path) -> None:
    with (
        mass_origin() as (_, port),
        serve(tmp_path, "--backend", backend, "--idle-timeout", "1", log=False) as served,
        mass_clients(served.port, port) as idle,
        mass_clients(served.port, port) as busy,
    ):

        def lie_idle() -> None:
            assert busy.do(f"open {_BUSY}") == {"granted": _BUSY}
            assert busy.do("load") == {"echoed": _BUSY}
            assert idle.do(f"open {_IDLE}") == {"granted": _IDLE}
            assert idle.do("ended") == {"rst": _IDLE}
            assert busy.do("end") == {"whole": _BUSY}

        Steady(served, port).check(lie_idle)
