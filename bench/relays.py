"""The relay itself, on each backend and with two profiles; and the proof that its quirk works while it is measured.

A relay whose provider of TOS bytes is not active would be a faster one, of something else. So each is asked at its
start what it can do on this host, and one connection through the very process that is measured changes its precedence:
with `vmware-fusion` it must be reset, with `transparent` it must live. What runs is the installed relay.
"""

from __future__ import annotations

import contextlib
import importlib.util
import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from bench.ends import Via
from bench.through import START_S, Running, Through, check_starting, spawned

_REPLY_S = 5.0
BEFORE = ", before"
"""How the name of a relay ends that another Python has installed."""
_OTHER_PRECEDENCE = 0x48  # AF21, as ssh marks its packets: precedence 2


@dataclass(frozen=True)
class Relay:
    """`relay serve` with one forward, and its proxy port for SOCKS5 and CONNECT."""

    profile: str
    backend: str
    workers: int = 1
    before: str | None = None
    """The Python that has an earlier relay installed, to be measured beside this one."""

    @property
    def name(self) -> str:
        workers = f", {self.workers} workers" if self.workers > 1 else ""
        return f"{self.profile}, {self.backend}{workers}{BEFORE if self.before else ''}"

    @property
    def _serve(self) -> list[str]:
        return [self.before or sys.executable, "-P", "-m", "relay", "serve"]

    @property
    def vias(self) -> Sequence[Via]:
        return ("forward", "socks5", "connect")

    @property
    def only(self) -> Sequence[str]:
        """Workers are for load that comes in parallel; the rest would be measured twice."""
        return ("bulk-up-8", "bulk-down-8", "forward-64", "socks5-64") if self.workers > 1 else ()

    def missing(self) -> str | None:
        """Whether this relay has the option, and this Python the library, by asking the relay."""
        command = [*self._serve, "--help"]
        options = subprocess.run(
            command, capture_output=True, text=True, check=True, env=environment(COLUMNS="200")
        ).stdout
        if self.backend not in options:
            return f"{self.name}: this relay has no --backend {self.backend}"
        if importlib.util.find_spec(self.backend) is None:
            return f"{self.name}: pip install {self.backend}"
        if self.workers > 1 and "--workers" not in options:
            return f"{self.name}: this relay has no --workers"
        return None

    @contextlib.contextmanager
    def start(self, place: Path, origin_port: int) -> Iterator[Running]:
        ports, events = place / "ports", place / "events"
        command = [*self._serve, "--quiet", "--backend", self.backend]
        command += ["--profile", self.profile, "--listen", "127.0.0.1:0"]
        with spawned([*command, "--events", str(events)], place, environment()) as process:
            _wait_for(lambda: events.exists() and "\n" in events.read_text(), process, place)
            fidelity = json.loads(events.read_text().splitlines()[0])["fidelity"].get("tos-reset")
        command += ["--forward", f"0:127.0.0.1:{origin_port}", "--port-file", str(ports)]
        command += ["--workers", str(self.workers)] if self.workers > 1 else []
        with spawned(command, place, environment()) as process:
            _wait_for(ports.exists, process, place)
            proxy, forward = (int(port) for port in ports.read_text().split())
            reset = _is_reset_by_another_precedence(forward)
            assert reset == (fidelity in {"exact", "approximate"}), f"tos-reset: {fidelity}, yet reset is {reset}"
            notes = f"tos-reset {fidelity or 'off'}; a change of precedence {'resets' if reset else 'does nothing'}"
            yield Running({"forward": forward, "socks5": proxy, "connect": proxy}, process.pid, notes)


def environment(**more: str) -> dict[str, str]:
    """Ours, without the options of relays that are run by hand."""
    return {name: value for name, value in os.environ.items() if not name.startswith("RELAY_")} | more


def relays() -> Sequence[Through]:
    """All of them, those with workers last."""
    both = ("vmware-fusion", "transparent")
    return [Relay(profile, backend) for backend in ("asyncio", "uvloop", "trio") for profile in both] + [
        Relay("vmware-fusion", "asyncio", 2)
    ]


def with_before(throughs: Sequence[Through], python: str) -> Iterator[Through]:
    """Each relay twice, as it is and as `python` has it installed; the others as they are."""
    for through in throughs:
        yield through
        if isinstance(through, Relay):
            yield replace(through, before=python)


def _wait_for(there: Callable[[], bool], process: subprocess.Popen[bytes], place: Path) -> None:
    deadline_s = time.monotonic() + START_S
    while not there():
        check_starting(process, deadline_s, place)


def _is_reset_by_another_precedence(port: int) -> bool:
    with socket.create_connection(("127.0.0.1", port), timeout=_REPLY_S) as sock:
        sock.sendall(b"E")
        assert sock.recv(1) == b"E"
        sock.setsockopt(socket.IPPROTO_IP, socket.IP_TOS, _OTHER_PRECEDENCE)
        try:
            sock.sendall(b"x")
            return sock.recv(1) != b"x"
        except ConnectionResetError:
            return True
