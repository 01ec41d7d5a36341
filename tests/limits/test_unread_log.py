"""A log that is not read: a full pipe, a terminal that was stopped with Ctrl-S, a reader that lags behind."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import signal
import socket
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import pytest

from support.clients import connect_by_port
from support.masses import wait_until
from support.origins import Origin, echo, read_exactly
from support.programs import RELAY, clean_environment

_PIPE_BYTES = 4096  # the smallest that Linux makes: the log of three flows
_FLOWS = 30
_ENDS_WITHIN_S = 40.0  # the drain timeout and the second for the log are 1.5 s


@dataclass(frozen=True)
class Serving:
    """A `relay serve` that logs to stdout and stderr."""

    process: subprocess.Popen[bytes]
    port: int

    def carry_flow(self, target_port: int) -> None:
        with connect_by_port(self.port, "127.0.0.1", target_port) as sock:
            sock.sendall(b"here")
            assert read_exactly(sock, 4) == b"here"
            sock.shutdown(socket.SHUT_WR)
            assert sock.recv(1) == b""

    def accepts(self) -> bool:
        with contextlib.suppress(ConnectionRefusedError):
            socket.create_connection(("127.0.0.1", self.port), timeout=60).close()
            return True
        return False


@contextlib.contextmanager
def serving(directory: Path, stdout: BinaryIO, stderr: BinaryIO, *arguments: str) -> Iterator[Serving]:
    """A relay whose event log goes to these descriptors, as JSON and as text; it is killed if it outlives the block."""
    port_file = directory / "ports"
    options = ("--listen", "127.0.0.1:0", "--port-file", str(port_file), "--events", "-")
    with subprocess.Popen(
        [*RELAY, "serve", *options, *arguments], stdout=stdout, stderr=stderr, env=clean_environment(TERM="xterm")
    ) as process:
        try:
            wait_until(port_file.exists, lambda: f"not started, exit code {process.poll()}")
            yield Serving(process, int(port_file.read_text()))
        finally:
            process.kill()


@contextlib.contextmanager
def small_pipe() -> Iterator[tuple[BinaryIO, BinaryIO]]:
    """A pipe that is full at once: where it is read, and where it is written."""
    reader, writer = os.pipe()
    fcntl.fcntl(writer, fcntl.F_SETPIPE_SZ, _PIPE_BYTES)
    with open(reader, "rb", buffering=0) as ours, open(writer, "wb", buffering=0) as theirs:
        yield ours, theirs


@contextlib.contextmanager
def unread(kind: str) -> Iterator[tuple[BinaryIO, BinaryIO]]:
    """A stdout and a stderr that take next to nothing."""
    if kind == "pipes":
        with small_pipe() as (_, stdout), small_pipe() as (_, stderr):
            yield stdout, stderr
        return
    ours, theirs = os.openpty()
    with open(ours, "wb", buffering=0), open(theirs, "wb", buffering=0) as terminal:
        os.write(ours, b"\x13")  # Ctrl-S
        yield terminal, terminal


@pytest.mark.parametrize(("kind", "workers"), [("pipes", 1), ("terminal", 2)])
def test_a_log_that_is_not_read_holds_up_no_flow_and_no_end(
    kind: str, workers: int, backend: str, tmp_path: Path
) -> None:
    options = ("--backend", backend, "--workers", str(workers), "--drain-timeout", "0.5")
    with (
        unread(kind) as (stdout, stderr),
        Origin(echo) as origin,
        serving(tmp_path, stdout, stderr, *options) as served,
    ):
        for _ in range(_FLOWS):
            served.carry_flow(origin.port)
        served.process.send_signal(signal.SIGTERM)
        assert served.process.wait(_ENDS_WITHIN_S) == 0


def test_a_second_ctrl_c_ends_it_at_once_even_so_and_what_is_missing_is_counted(backend: str, tmp_path: Path) -> None:
    options = ("--backend", backend, "--drain-timeout", "600")
    with (
        small_pipe() as (_, stdout),
        (tmp_path / "stderr").open("wb") as stderr,
        Origin(echo) as origin,
        serving(tmp_path, stdout, stderr, *options) as served,
    ):
        for _ in range(_FLOWS):
            served.carry_flow(origin.port)
        with connect_by_port(served.port, "127.0.0.1", origin.port):
            served.process.send_signal(signal.SIGINT)
            wait_until(lambda: not served.accepts(), lambda: "it still accepts")
            served.process.send_signal(signal.SIGINT)
            assert served.process.wait(_ENDS_WITHIN_S) == 0
    *_, complaint, hint = (tmp_path / "stderr").read_text().splitlines()
    assert complaint.startswith("relay: --events: - was not read in time; records that are missing at its end: ")
    assert int(complaint.rpartition(" ")[2]) > _FLOWS
    assert hint == "hint: read it to its end"


def test_a_reader_that_lags_behind_gets_every_record_in_order(backend: str, tmp_path: Path) -> None:
    got = bytearray()
    with (
        small_pipe() as (ours, stdout),
        small_pipe() as (_, stderr),
        Origin(echo) as origin,
        serving(tmp_path, stdout, stderr, "--backend", backend) as served,
    ):
        stdout.close()
        for _ in range(_FLOWS):
            served.carry_flow(origin.port)
            got += ours.read(100)  # of some 1,500
        served.process.send_signal(signal.SIGTERM)
        while data := ours.read(65536):
            got += data
    records = [json.loads(line) for line in got.splitlines()]
    assert (records[0]["event"], records[-1]["event"]) == ("relay-started", "relay-stopped")
    for flow in range(1, _FLOWS + 1):
        told = [(record["at_s"], record["event"]) for record in records if record["flow"] == flow]
        assert told == sorted(told, key=lambda pair: pair[0])
        assert (told[0][1], told[-1][1]) == ("flow-opened", "flow-ended")
