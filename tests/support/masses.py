"""Crowds of clients, origins for them, and what a relay holds: for tests of its limits.

Each crowd and each origin is a process of its own (`mass_process.py`): it can be killed, it may have more descriptors
than the tests, and its memory is not the relay's.
"""

from __future__ import annotations

import contextlib
import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from support.clients import connect_by_port
from support.origins import read_exactly
from support.programs import ServedRelay, clean_environment

if sys.platform != "win32":
    import resource

Value = TypeVar("Value")
_PROGRAM = Path(__file__).with_name("mass_process.py")
_ANSWERS_WITHIN_S = 60.0
_RETURNS_WITHIN_S = 60.0  # more than the 5 s that a leg has to wind down
_ROUNDS = 8
_MAX_PIPE_ENDS = 2 * 8 + 4  # of pumps that splice, and of the event loop's own
_PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")


class MassProcess:
    """One process with very many connections."""

    def __init__(self, *arguments: str) -> None:
        self.process = subprocess.Popen(
            [sys.executable, str(_PROGRAM), *arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=clean_environment(),
        )
        if sys.platform == "linux":
            most = descriptor_limit()
            resource.prlimit(self.process.pid, resource.RLIMIT_NOFILE, (most, most))

    def hear(self) -> Any:
        """Its next answer."""
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        assert line, "the process has ended"
        return json.loads(line)

    def tell(self, command: str) -> None:
        """Give it a command, and do not wait for the answer."""
        assert self.process.stdin is not None
        self.process.stdin.write(f"{command}\n")
        self.process.stdin.flush()

    def do(self, command: str) -> Any:
        """Give it a command and wait until it is done."""
        self.tell(command)
        return self.hear()

    def kill(self) -> None:
        """End it as a crash does: with SIGKILL."""
        self.process.kill()
        self.process.wait()
        for pipe in (self.process.stdin, self.process.stdout):
            if pipe is not None:
                with contextlib.suppress(BrokenPipeError):
                    pipe.close()


@contextlib.contextmanager
def mass_origin() -> Iterator[tuple[MassProcess, int]]:
    """An origin that echoes, and its port."""
    process = MassProcess("origin")
    try:
        yield process, process.hear()
    finally:
        process.kill()


@contextlib.contextmanager
def mass_clients(relay_port: int, target_port: int) -> Iterator[MassProcess]:
    """Clients of a relay, which ask for a port of loopback; see `mass_process.py` for their commands."""
    process = MassProcess(str(relay_port), str(target_port))
    try:
        yield process
    finally:
        process.kill()


def descriptor_limit() -> int:
    """How many descriptors a process may have here, if it asks for all it can get; more takes CAP_SYS_RESOURCE."""
    return resource.getrlimit(resource.RLIMIT_NOFILE)[1] if sys.platform != "win32" else 0


@contextlib.contextmanager
def all_descriptors() -> Iterator[None]:
    """Have this process open as many as it may ask for."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def descriptors(pid: int) -> set[str]:
    """What a process has open, by number; the relay's pool of pipes aside, of which it keeps a bounded number."""
    links = _descriptor_links(pid)
    pipes = {number for number, link in links.items() if link.startswith("pipe:")}
    assert len(pipes) <= _MAX_PIPE_ENDS, f"{len(pipes)} ends of pipes"
    return links.keys() - pipes


def pipe_ends(pid: int) -> int:
    """How many ends of pipes a process has open."""
    return sum(link.startswith("pipe:") for link in _descriptor_links(pid).values())


def _descriptor_links(pid: int) -> dict[str, str]:
    links = {}
    for number in os.listdir(f"/proc/{pid}/fd"):
        with contextlib.suppress(FileNotFoundError):
            links[number] = os.readlink(f"/proc/{pid}/fd/{number}")
    return links


def descriptor_count(pid: int) -> int:
    return len(os.listdir(f"/proc/{pid}/fd"))


def resident_bytes(pid: int) -> int:
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * _PAGE_BYTES


def check_serving(port: int, target_port: int) -> None:
    """Whether one more flow is opened, and carries."""
    with connect_by_port(port, "127.0.0.1", target_port) as sock:
        sock.sendall(b"alive")
        assert read_exactly(sock, 5) == b"alive"
        sock.shutdown(socket.SHUT_WR)
        assert sock.recv(1) == b""


@dataclass(frozen=True)
class Steady:
    """A relay that has to be after any ordeal what it was before."""

    served: ServedRelay
    target_port: int

    def check(self, ordeal: Callable[[], object], *, may_grow_bytes: int = 512 * 1024) -> None:
        """Put the relay through it; after each time it must serve, and hold the descriptors that it held before.

        Allocators keep what they got, and threads get heaps of their own, so at first its memory may grow. In one of
        `_ROUNDS` it must do with what the round before it left, up to `may_grow_bytes` for the heap's other layout.
        """
        pid = self.served.process.pid
        check_serving(self.served.port, self.target_port)
        before = settled(lambda: descriptors(pid))
        sizes_bytes: list[int] = []
        for _ in range(_ROUNDS):
            ordeal()
            check_serving(self.served.port, self.target_port)
            wait_until(lambda: len(descriptors(pid)) <= len(before), lambda: f"open still: {descriptors(pid) - before}")
            sizes_bytes.append(resident_bytes(pid))
            if len(sizes_bytes) > 1 and sizes_bytes[-1] - sizes_bytes[-2] < may_grow_bytes:
                return
        raise AssertionError(f"the relay grows each time: {sizes_bytes} bytes resident")


def wait_until(
    condition: Callable[[], bool], otherwise: Callable[[], str], timeout_s: float = _RETURNS_WITHIN_S
) -> None:
    """Until something holds that cannot be waited on."""
    deadline_s = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline_s, otherwise()
        time.sleep(0.02)


def settled(measure: Callable[[], Value]) -> Value:
    """The value, once it was the same for a quarter of a second."""
    value, since_s = measure(), time.monotonic()
    while time.monotonic() < since_s + 0.25:
        time.sleep(0.02)
        if (now := measure()) != value:
            value, since_s = now, time.monotonic()
    return value
