"""The other proxies: how each is got, configured and started.

Each is set up as its own documentation says one would for speed, without logging, and with room for 10,000 flows.
"""

from __future__ import annotations

import contextlib
import importlib.util
import resource
import shutil
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from bench.ends import Via
from bench.through import Direct, Running, Through, free_ports, spawned, wait_until_up

_DEBIAN = "apt-get install {}"
_PYPI = "pip install {}, or '.[bench]' for all of them"
_NOT_IN_DEBIAN = "not in Debian 12: build it from https://github.com/3proxy/3proxy, and have {} on PATH"
_ADMIN_PATH = "/usr/sbin:/sbin:/usr/local/sbin"


@dataclass(frozen=True)
class Peer:
    """A proxy that listens on ports it is told."""

    name: str
    vias: Sequence[Via]
    package: str
    program: str
    """On PATH; or of a Python package, the module."""
    get: str
    command: Callable[[str, Path, Mapping[Via, int], int], list[str]]
    """From the program, a directory of its own, its ports, and the origin's, the command to run."""

    def missing(self) -> str | None:
        return None if self._find() else f"{self.name} is not here: {self.get.format(self.package)}"

    @contextlib.contextmanager
    def start(self, place: Path, origin_port: int) -> Iterator[Running]:
        program = self._find()
        assert program is not None
        ports = dict(zip(self.vias, free_ports(len(self.vias)), strict=True))
        with spawned(self.command(program, place, ports, origin_port), place) as process:
            wait_until_up(process, list(ports.values()), place)
            yield Running(ports, process.pid)

    def _find(self) -> str | None:
        if self.get is _PYPI:
            return sys.executable if importlib.util.find_spec(self.program) else None
        return shutil.which(self.program) or shutil.which(self.program, path=_ADMIN_PATH)


def _haproxy(program: str, place: Path, ports: Mapping[Via, int], origin_port: int) -> list[str]:
    """Spliced, by pipes of a megabyte (which takes root): `splice-auto` never engages on loopback."""
    most = (resource.getrlimit(resource.RLIMIT_NOFILE)[0] - 200) // 2  # two descriptors each, and those of its pipes
    place.joinpath("haproxy.cfg").write_text(
        f"""
global
    nbthread 1
    maxconn {most}
    maxpipes 64
    tune.pipesize 1048576
    tune.bufsize 65536
defaults
    mode tcp
    maxconn {most}
    timeout connect 10s
    timeout client 1h
    timeout server 1h
    option splice-request
    option splice-response
listen bench
    bind 127.0.0.1:{ports["forward"]} backlog 4096
    server origin 127.0.0.1:{origin_port}
"""
    )
    return [program, "-f", str(place / "haproxy.cfg"), "-db", "-q"]


def _microsocks(program: str, place: Path, ports: Mapping[Via, int], origin_port: int) -> list[str]:
    """Its 1.0.3 has no option to keep it from telling of each connection; let that cost no disk."""
    return ["sh", "-c", 'exec "$0" "$@" 2>/dev/null', program, "-i", "127.0.0.1", "-p", str(ports["socks5"])]


PEERS: Sequence[Through] = (
    Direct(),
    Peer("HAProxy", ("forward",), "haproxy", "haproxy", _DEBIAN, _haproxy),
    Peer("microsocks", ("socks5",), "microsocks", "microsocks", _DEBIAN, _microsocks),
)
