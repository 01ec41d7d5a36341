"""The two ends of every measured connection: origin.c and load.c, compiled at the start of a run.

They are programs of their own, and in C, so that neither is ever what limits a figure and so that their CPU time is
none of the proxy's. A load that fails, or that takes longer than the minute it gives itself, gives no figure at all.
"""

from __future__ import annotations

import contextlib
import json
import subprocess
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal, TypeAlias

if TYPE_CHECKING:
    from bench.web import Web

Via: TypeAlias = Literal["forward", "socks5", "connect"]
"""How a load asks for the origin: not at all, by SOCKS5, or by HTTP CONNECT."""

VIAS: Sequence[Via] = ("forward", "socks5", "connect")
"""From the one that costs least before the first byte."""

_HERE = Path(__file__).parent


class LoadFailed(Exception):
    """A load saw something else than it should; its text says what."""


@dataclass(frozen=True)
class Ends:
    """A running origin, and the load that reaches it."""

    load: Path
    origin_port: int
    origin_pid: int
    web: Web | None = None
    """Plain HTTP's ends, where they are here and are wanted."""

    def measure(self, via: Via, port: int, quantity: str, first: int, second: int) -> dict[str, float]:
        """Run one load to its end; what it printed."""
        command = self._command(via, port, quantity, first, second)
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode != 0:
            raise LoadFailed(f"{quantity}: {done.stderr.strip()}")
        figures: dict[str, float] = json.loads(done.stdout)
        return figures

    @contextlib.contextmanager
    def idle_flows(self, via: Via, port: int, count: int) -> Iterator[None]:
        """Hold flows that carry nothing after their first byte. All must still be there at the end."""
        command = self._command(via, port, "idle", 64, count)
        pipe = subprocess.PIPE
        with subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=pipe, text=True) as process:
            try:
                assert process.stdout is not None
                if json.loads(process.stdout.readline() or "{}").get("open") != count:
                    raise LoadFailed(f"idle: {process.communicate()[1].strip()}")
                yield
                said, complaint = process.communicate()
                if process.returncode != 0 or json.loads(said)["closed"] != count:
                    raise LoadFailed(f"idle: {complaint.strip()}")
            finally:
                process.kill()

    def _command(self, via: Via, port: int, quantity: str, first: int, second: int) -> list[str]:
        return [str(self.load), via, str(port), str(self.origin_port), quantity, str(first), str(second)]


@contextlib.contextmanager
def open_ends(place: Path) -> Iterator[Ends]:
    """Compile both programs into `place` and run the origin."""
    for program in ("origin", "load"):
        source = _HERE / f"{program}.c"
        subprocess.run(["cc", "-O2", "-Wall", "-Wextra", "-o", str(place / program), str(source)], check=True)
    pipe = subprocess.PIPE
    with subprocess.Popen([str(place / "origin")], stdin=pipe, stdout=pipe, text=True) as origin:
        assert origin.stdout is not None
        assert origin.stdin is not None
        port = int(origin.stdout.readline())
        yield Ends(place / "load", port, origin.pid)
        origin.stdin.close()  # its sign to end
