"""What a connection is measured through: an entry for each proxy, and a running one.

Everything that runs is a process of its own, started fresh, on ports of 127.0.0.1, and ended with all its descendants.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from bench.ends import VIAS, Via

ADMIN_PATH = "/usr/sbin:/sbin:/usr/local/sbin"
START_S = 20.0
_STOP_S = 10.0


class NotUp(Exception):
    """A proxy did not start; its text is what it said."""


@dataclass(frozen=True)
class Running:
    """A proxy that is up, or the direct way, which has no process."""

    ports: Mapping[Via, int]
    pid: int | None
    notes: str = ""
    """What was found out about it at its start."""

    @property
    def carrier(self) -> tuple[Via, int]:
        """The way that costs least before the first byte, for quantities in which that does not count."""
        return next((via, self.ports[via]) for via in VIAS if via in self.ports)


class Through(Protocol):
    """How one is got, started and ended."""

    @property
    def name(self) -> str: ...

    @property
    def vias(self) -> Sequence[Via]: ...

    @property
    def only(self) -> Sequence[str]:
        """The quantities that it is for; empty: all that it speaks."""

    def missing(self) -> str | None:
        """What is not there and how to get it; None if all is."""

    def start(self, place: Path, origin_port: int) -> contextlib.AbstractContextManager[Running]:
        """Run it, with `place` as a directory of its own."""


@dataclass(frozen=True)
class Direct:
    """No proxy at all: what everything else is a share of."""

    name: str = "direct"
    vias: Sequence[Via] = ("forward",)
    only: Sequence[str] = ()

    def missing(self) -> str | None:
        return None

    @contextlib.contextmanager
    def start(self, place: Path, origin_port: int) -> Iterator[Running]:
        yield Running({"forward": origin_port}, None)


@contextlib.contextmanager
def spawned(
    command: Sequence[str], place: Path, environment: Mapping[str, str] | None = None
) -> Iterator[subprocess.Popen[bytes]]:
    """A program in a session of its own, so that its end is that of its children, too."""
    with Path(place, "output").open("wb") as output:
        process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=output, stderr=output, start_new_session=True, env=environment
        )
    try:
        yield process
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGTERM)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(_STOP_S)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def find_program(name: str) -> str | None:
    """Where a program is: on PATH, or where Debian keeps those for the administrator."""
    return shutil.which(name) or shutil.which(name, path=ADMIN_PATH)


def free_ports(count: int) -> list[int]:
    """Ports of loopback without a listener; for programs that cannot pick their own."""
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.create_server(("127.0.0.1", 0))) for _ in range(count)]
        return [sock.getsockname()[1] for sock in sockets]


def wait_until_up(process: subprocess.Popen[bytes], ports: Sequence[int], place: Path) -> None:
    """Wait until something accepts on each port."""
    deadline_s = time.monotonic() + START_S
    for port in ports:
        while True:
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
                break
            check_starting(process, deadline_s, place)


def check_starting(process: subprocess.Popen[bytes], deadline_s: float, place: Path) -> None:
    """Give it a moment more; not if it has ended, or its time is up."""
    said = Path(place, "output").read_text(errors="replace").strip()[-300:]
    if process.poll() is not None:
        raise NotUp(f"it ended at its start: {said}")
    if time.monotonic() > deadline_s:
        raise NotUp(f"it is not up after {START_S:.0f} s: {said}")
    time.sleep(0.02)
