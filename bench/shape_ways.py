"""The ways to a slow line: the relay, and tc's netem and tbf on a pair of kernel devices, which do it to packets.

All of them do it to what goes to the client. The kernel's two are in a network of their own (`bench.wire_ways`), and
netem is a module that not every kernel has: what is missing is named. A guest's kernel has it (`bench.guest`).
"""

from __future__ import annotations

import contextlib
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from bench.ends import Ends
from bench.relays import environment
from bench.through import START_S, check_starting, find_program, spawned
from bench.wire_ways import WAYS

_VETH = next(way for way in WAYS if way.name == "veth")
_PACKETS = 1_000_000
"""So many wait in netem at most: none is to be lost."""
_LEAST_BURST_BYTES = 4000
_BURST_S = 0.005  # of tbf: what passes at once, at a rate; less than a tick's worth would not reach it
_QUEUE_S = 0.25


@dataclass(frozen=True)
class Line:
    """What the way to the client does to bytes."""

    delay_s: float = 0.0
    rate_bytes_per_s: float = 0.0


@dataclass(frozen=True)
class Reach:
    """How a client reaches the origin: what its command is run by, and where it connects."""

    prefix: Sequence[str]
    host: str
    port: int


class ShapeWay(Protocol):
    """One way to have a slow line."""

    @property
    def name(self) -> str: ...

    @property
    def many_at_once(self) -> bool:
        """Whether several lines can be open at a time."""

    def does(self, line: Line) -> bool:
        """Whether it can do this at all."""

    def missing(self) -> str | None:
        """What is not there, and how to get it; None if all is."""

    def open(self, ends: Ends, line: Line) -> AbstractContextManager[Reach]:
        """Have such a line for as long as the block lasts."""


@dataclass(frozen=True)
class RelayLine:
    """A relay with one forward, and the faults `latency` and `bandwidth` toward the app."""

    backend: str
    many_at_once: bool = True

    @property
    def name(self) -> str:
        return f"relay, {self.backend}"

    def does(self, line: Line) -> bool:
        return True

    def missing(self) -> str | None:
        return None

    @contextlib.contextmanager
    def open(self, ends: Ends, line: Line) -> Iterator[Reach]:
        faults = []
        if line.delay_s:
            faults += [f"latency.delay_s={line.delay_s}", "latency.direction=to-app"]
        if line.rate_bytes_per_s:
            faults += [f"bandwidth.rate_bytes_per_s={line.rate_bytes_per_s}", "bandwidth.direction=to-app"]
        with served(self.backend, ends, faults) as (_, port):
            yield Reach((), "127.0.0.1", port)


@dataclass(frozen=True)
class TcLine:
    """A queueing discipline of tc's on the device that leads to the client."""

    discipline: str
    many_at_once: bool = False

    @property
    def name(self) -> str:
        return f"veth and {self.discipline}"

    def does(self, line: Line) -> bool:
        return self.discipline == "netem" or not line.delay_s

    def missing(self) -> str | None:
        if find_program("tc") is None:
            return f"{self.name}: apt-get install iproute2"
        try:
            with self.open(Ends(Path(), 0, 0), Line(rate_bytes_per_s=1e6)):
                return None
        except subprocess.CalledProcessError as error:
            said = error.stderr.decode().strip().partition("\n")[0]
            return f"{self.name}: {said} (a kernel with sch_{self.discipline} has it; --guest runs one)"

    @contextlib.contextmanager
    def open(self, ends: Ends, line: Line) -> Iterator[Reach]:
        with ExitStack() as stack:
            prefix = _VETH.wrap(stack)
            if words := self._words(line):
                command = ["tc", "qdisc", "add", "dev", "near", "root", self.discipline, *words]
                subprocess.run(command, check=True, capture_output=True)
            yield Reach(prefix, _VETH.host, ends.origin_port)

    def _words(self, line: Line) -> list[str]:
        rate = line.rate_bytes_per_s
        if self.discipline == "netem":
            delay = ["delay", f"{line.delay_s * 1000:g}ms"] if line.delay_s else []
            return [*delay, *(["rate", f"{rate * 8:.0f}bit"] if rate else []), "limit", str(_PACKETS)]
        burst, queue = max(_LEAST_BURST_BYTES, int(rate * _BURST_S)), max(65536, int(rate * _QUEUE_S))
        return ["rate", f"{rate * 8:.0f}bit", "burst", str(burst), "limit", str(queue)] if rate else []


@contextlib.contextmanager
def served(backend: str, ends: Ends, settings: Sequence[str], *options: str) -> Iterator[tuple[int, int]]:
    """A relay without a quirk but these settings: its proxy's port, or its control's if it has one, and a forward's."""
    command = [sys.executable, "-P", "-m", "relay", "serve", "--quiet", "--backend", backend, "--listen", "127.0.0.1:0"]
    command += ["--profile", "transparent", "--forward", f"0:127.0.0.1:{ends.origin_port}", *options]
    for setting in settings:
        command += ["--set", setting]
    with tempfile.TemporaryDirectory() as directory:
        place = Path(directory)
        ports = place / "ports"
        with spawned([*command, "--port-file", str(ports)], place, environment()) as process:
            deadline_s = time.monotonic() + START_S
            while not ports.exists():
                check_starting(process, deadline_s, place)
            proxy, forward, *control = map(int, ports.read_text().split())
            yield (control[0] if control else proxy), forward


def ways(backends: Sequence[str]) -> list[ShapeWay]:
    """All of them."""
    return [*(RelayLine(backend) for backend in backends), TcLine("netem"), TcLine("tbf")]
