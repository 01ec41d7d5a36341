"""What signals ask of a relay that serves: a summary, and a new file for the event log."""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import socket
import subprocess
import time
from collections import Counter
from pathlib import Path

import pytest

from support.capabilities import missing
from support.clients import connect_by_port
from support.origins import Origin, echo, read_exactly
from support.programs import RELAY, ServedRelay, clean_environment, serve

_CLOSED = (
    r"total: 3 flows, 39 B out, 39 B in; ended by internal-peer 2, tos-reset 1; "
    r"behaviours acted on flows: close-mapping 2, tos-reset 1"
)


def exchange(sock: socket.socket) -> None:
    sock.sendall(b"over and back")
    assert read_exactly(sock, 13) == b"over and back"


def run_three(served: ServedRelay, origin: Origin) -> None:
    """Two flows that end in order, and one that tos-reset resets."""
    for _ in range(2):
        with connect_by_port(served.port, "127.0.0.1", origin.port) as sock:
            exchange(sock)
    with connect_by_port(served.port, "127.0.0.1", origin.port) as sock:
        exchange(sock)
        sock.setsockopt(socket.IPPROTO_IP, socket.IP_TOS, 0x48)
        with contextlib.suppress(ConnectionError):
            sock.sendall(b"x")
            sock.recv(1)
    served.wait_for_count("flow-ended", 3)


@pytest.mark.parametrize("workers", ["1", "2"])
def test_the_last_line_has_the_totals(workers: str, backend: str, tmp_path: Path) -> None:
    with (
        Origin(echo) as origin,
        serve(tmp_path, "--backend", backend, "--workers", workers) as served,
    ):
        run_three(served, origin)
    assert re.fullmatch(_CLOSED, served.stderr().splitlines()[-1])


@pytest.mark.parametrize("workers", ["1", "2"])
def test_the_totals_need_no_log(workers: str, backend: str, tmp_path: Path) -> None:
    with Origin(echo) as origin, serve(tmp_path, "--backend", backend, "--workers", workers, log=False) as served:
        for _ in range(2):
            with connect_by_port(served.port, "127.0.0.1", origin.port) as sock:
                exchange(sock)
    assert served.stderr().splitlines()[-1].startswith("total: 2 flows, 26 B out, 26 B in; ended by ")


@pytest.mark.parametrize("name", ["SIGUSR2", "SIGINFO"])
@pytest.mark.parametrize("workers", ["1", "2"])
def test_a_signal_asks_for_the_totals_so_far(name: str, workers: str, backend: str, tmp_path: Path) -> None:
    if (number := getattr(signal, name, None)) is None:
        if name == "SIGINFO":
            return  # of BSD and macOS
        missing(f"there is no {name}")
    with Origin(echo) as origin, serve(tmp_path, "--backend", backend, "--workers", workers) as served:
        with connect_by_port(served.port, "127.0.0.1", origin.port) as sock:
            exchange(sock)
            served.process.send_signal(number)
            served.wait_for_stderr("total: 1 flow (1 open), 0 B out, 0 B in\n")
            exchange(sock)
        served.wait_for("flow-ended")
        served.process.send_signal(number)
        served.wait_for_stderr("total: 1 flow, 26 B out, 26 B in; ended by internal-peer 1")


@pytest.mark.parametrize("workers", ["1", "2"])
def test_a_log_that_is_rotated_loses_no_record_and_doubles_none(workers: str, backend: str, tmp_path: Path) -> None:
    flows, every = 120, 20
    with Origin(echo) as origin, serve(tmp_path, "--backend", backend, "--workers", workers) as served:
        for number in range(flows):
            if number % every == every - 1:
                served.events_file.rename(tmp_path / f"events.{number}")
                served.process.send_signal(signal.SIGHUP)
            with connect_by_port(served.port, "127.0.0.1", origin.port) as sock:
                exchange(sock)
        deadline_s = time.monotonic() + 60
        while not served.events_file.exists():
            assert time.monotonic() < deadline_s
            time.sleep(0.02)  # a file cannot be waited on
    files = [*sorted(tmp_path.glob("events.[0-9]*"), key=lambda path: int(path.suffix[1:])), served.events_file]
    assert len(files) == flows // every + 1
    lines = [line for path in files for line in path.read_text().splitlines()]
    records = [json.loads(line) for line in lines]
    assert len(set(lines)) == len(lines)
    seen = Counter(record["event"] for record in records)
    each_flows = {"flow-opened": 1, "flow-connected": 1, "fin-received": 2, "fin-sent": 2, "flow-ended": 1}
    assert {event: seen[event] for event in each_flows} == {event: flows * n for event, n in each_flows.items()}
    assert [record["event"] for record in (records[0], records[-1])] == ["relay-started", "relay-stopped"]
    if workers == "1":
        assert [record["at_s"] for record in records] == sorted(record["at_s"] for record in records)
    assert all(path.stat().st_mode & 0o777 == 0o600 for path in files)


def test_a_log_that_cannot_be_reopened_goes_on_in_the_old_file(tmp_path: Path) -> None:
    with Origin(echo) as origin, serve(tmp_path) as served:
        served.events_file.rename(tmp_path / "moved")
        served.events_file.mkdir()
        served.process.send_signal(signal.SIGHUP)
        told = served.wait_for_stderr("goes on with the file that it has open")
        assert f"relay: --events: cannot reopen {served.events_file}: Is a directory\n" in told
        with connect_by_port(served.port, "127.0.0.1", origin.port) as sock:
            exchange(sock)
    assert "flow-ended" in (tmp_path / "moved").read_text()


def test_without_a_log_the_signal_changes_nothing(backend: str, tmp_path: Path) -> None:
    with Origin(echo) as origin, serve(tmp_path, "--backend", backend, log=False) as served:
        served.process.send_signal(signal.SIGHUP)
        with connect_by_port(served.port, "127.0.0.1", origin.port) as sock:
            exchange(sock)


def test_a_terminal_that_is_closed_ends_the_relay() -> None:
    if not hasattr(os, "openpty"):
        missing("needs pseudo-terminals")
    import pty  # noqa: PLC0415 - not on Windows

    pid, ours = pty.fork()
    if pid == 0:
        os.execve(RELAY[0], [*RELAY, "serve", "--listen", "127.0.0.1:0"], clean_environment())  # noqa: S606
    shown = b""
    while b"link-down-reset" not in shown:
        shown += os.read(ours, 65536)
    os.close(ours)
    deadline_s = time.monotonic() + 60
    while os.waitpid(pid, os.WNOHANG)[0] == 0:
        assert time.monotonic() < deadline_s, subprocess.run(["kill", "-9", str(pid)], check=False)
        time.sleep(0.02)  # a process that is no child of subprocess cannot be waited for with a limit
