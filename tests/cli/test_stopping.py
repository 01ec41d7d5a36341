"""How `relay serve` stops: open flows get a bounded time, a second Ctrl-C ends it at once, and the exit code is 0."""

from __future__ import annotations

import signal
import socket
import time
from pathlib import Path

import pytest

from support.clients import connect_by_port
from support.origins import Origin, echo, read_exactly
from support.programs import ServedRelay, serve


def exchange(sock: socket.socket) -> None:
    sock.sendall(b"still here?")
    assert read_exactly(sock, 11) == b"still here?"


def wait_for_exit(served: ServedRelay, *, within_s: float) -> float:
    """How long the relay took to exit with 0."""
    began_s = time.monotonic()
    assert served.process.wait(within_s) == 0, served.stderr()
    return time.monotonic() - began_s


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_open_flow_may_finish_while_no_other_is_accepted(
    number: signal.Signals, backend: str, tmp_path: Path
) -> None:
    with Origin(echo) as origin, serve(tmp_path, "--backend", backend, "--drain-timeout", "600") as served:
        with connect_by_port(served.port, "127.0.0.1", origin.port) as sock:
            exchange(sock)
            served.process.send_signal(number)
            draining = served.wait_for("relay-draining")
            assert (draining["flows"], draining["at_most_s"]) == (1, 600)
            with pytest.raises(ConnectionRefusedError):
                connect_by_port(served.port, "127.0.0.1", origin.port)
            exchange(sock)
            sock.shutdown(socket.SHUT_WR)
            assert sock.recv(1) == b""
        wait_for_exit(served, within_s=60)
        assert served.wait_for("flow-ended")["because"] == "internal-peer"
        assert served.wait_for("relay-stopped")["flows_ended"] == 0


def test_a_flow_that_does_not_finish_is_reset_when_the_time_is_over(backend: str, tmp_path: Path) -> None:
    with Origin(echo) as origin, serve(tmp_path, "--backend", backend, "--drain-timeout", "0.5") as served:
        with connect_by_port(served.port, "127.0.0.1", origin.port) as sock:
            exchange(sock)
            served.process.send_signal(signal.SIGTERM)
            with pytest.raises(ConnectionResetError):
                sock.recv(1)
        wait_for_exit(served, within_s=60)
        ended = served.wait_for("flow-ended")
        assert ended["at_s"] - served.wait_for("relay-draining")["at_s"] == pytest.approx(0.5, abs=0.3)
        assert (ended["because"], ended["internal"], ended["internal_because"]) == ("shutdown", "rst", "shutdown")
        assert served.wait_for("relay-stopped")["flows_ended"] == 1


@pytest.mark.parametrize("second", [signal.SIGINT, signal.SIGTERM])
def test_a_second_signal_ends_it_at_once(second: signal.Signals, backend: str, tmp_path: Path) -> None:
    with Origin(echo) as origin, serve(tmp_path, "--backend", backend, "--drain-timeout", "600") as served:
        with connect_by_port(served.port, "127.0.0.1", origin.port) as sock:
            exchange(sock)
            served.process.send_signal(signal.SIGINT)
            served.wait_for("relay-draining")
            assert "1 flow has 600 s; Ctrl-C again ends it now" in served.wait_for_stderr("Ctrl-C again")
            served.process.send_signal(second)
            with pytest.raises(ConnectionResetError):
                sock.recv(1)
        assert wait_for_exit(served, within_s=10) < 5
        assert served.wait_for("relay-stopped")["flows_ended"] == 1


def test_the_link_can_go_down_while_flows_finish(backend: str, tmp_path: Path) -> None:
    with Origin(echo) as origin, serve(tmp_path, "--backend", backend, "--drain-timeout", "600") as served:
        with connect_by_port(served.port, "127.0.0.1", origin.port) as sock:
            exchange(sock)
            served.process.send_signal(signal.SIGTERM)
            served.wait_for("relay-draining")
            served.process.send_signal(signal.SIGUSR1)
            with pytest.raises(ConnectionResetError):
                sock.recv(1)
        assert wait_for_exit(served, within_s=10) < 5
        assert served.wait_for("flow-ended")["because"] == "link-down-reset"


def test_without_flows_it_stops_at_once(backend: str, tmp_path: Path) -> None:
    with serve(tmp_path, "--backend", backend, "--drain-timeout", "600") as served:
        served.process.send_signal(signal.SIGINT)
        assert wait_for_exit(served, within_s=10) < 5
        assert served.events()[-1]["event"] == "relay-stopped"
