"""The other proxies: how each is got, configured and started.

Each is set up as its own documentation says one would for speed, without logging, and with room for 10,000 flows.
"""

from __future__ import annotations

import contextlib
import importlib.util
import resource
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from bench.ends import Via
from bench.through import Direct, Running, Through, find_program, free_ports, spawned, wait_until_up

_DEBIAN = "apt-get install {}"
_PYPI = "pip install {}, or '.[bench]' for all of them"
_NOT_IN_DEBIAN = "not in Debian 12: build it from https://github.com/3proxy/3proxy, and have {} on PATH"


@dataclass(frozen=True)
class Peer:
    """A proxy that listens on the ports that it is given."""

    name: str
    vias: Sequence[Via]
    package: str
    program: str
    """On PATH; or of a Python package, the module."""
    get: str
    command: Callable[[str, Path, Mapping[Via, int], int], list[str]]
    """From the program, a directory of its own, its ports, and the origin's, the command to run."""
    only: Sequence[str] = ()

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
        return find_program(self.program)


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
    """Its 1.0.3 logs each connection, and no option stops that; the log uses no disk."""
    return ["sh", "-c", 'exec "$0" "$@" 2>/dev/null', program, "-i", "127.0.0.1", "-p", str(ports["socks5"])]


def _dante(program: str, place: Path, ports: Mapping[Via, int], origin_port: int) -> list[str]:
    place.joinpath("danted.conf").write_text(
        f"""
errorlog: stderr
internal: 127.0.0.1 port = {ports["socks5"]}
external: 127.0.0.1
clientmethod: none
socksmethod: none
user.privileged: root
user.unprivileged: nobody
client pass {{ from: 0/0 to: 0/0 }}
socks pass {{ from: 0/0 to: 0/0 command: connect }}
"""
    )
    return [program, "-f", str(place / "danted.conf"), "-p", str(place / "danted.pid")]


def _tinyproxy(program: str, place: Path, ports: Mapping[Via, int], origin_port: int) -> list[str]:
    place.joinpath("tinyproxy.conf").write_text(
        f"""
Listen 127.0.0.1
Port {ports["connect"]}
MaxClients 12000
Timeout 3600
LogLevel Critical
DisableViaHeader Yes
"""
    )
    return [program, "-d", "-c", str(place / "tinyproxy.conf")]


def _squid(program: str, place: Path, ports: Mapping[Via, int], origin_port: int) -> list[str]:
    """Without a cache, which would answer in the origin's place; it runs as the user who starts it, or as `proxy`."""
    place.chmod(0o755)
    place.joinpath("squid.conf").write_text(
        f"""
http_port 127.0.0.1:{ports["connect"]}
visible_hostname bench
max_filedescriptors {resource.getrlimit(resource.RLIMIT_NOFILE)[0]}
http_access allow all
cache deny all
cache_mem 8 MB
access_log none
cache_log /dev/null
cache_store_log none
pid_filename none
via off
forwarded_for delete
netdb_filename none
pinger_enable off
shutdown_lifetime 1 seconds
"""
    )
    return [program, "-N", "-f", str(place / "squid.conf")]


def _3proxy(program: str, place: Path, ports: Mapping[Via, int], origin_port: int) -> list[str]:
    place.joinpath("3proxy.cfg").write_text(
        f"""
maxconn 12000
auth none
internal 127.0.0.1
socks -p{ports["socks5"]}
proxy -p{ports["connect"]}
tcppm {ports["forward"]} 127.0.0.1 {origin_port}
"""
    )
    return [program, str(place / "3proxy.cfg")]


# pproxy 2.7.9 asks for a current event loop, which neither uvloop 0.22 nor Python 3.14 makes up any more.
_PPROXY = """
import asyncio
from pproxy.server import main
try:
    import uvloop
except ImportError:
    asyncio.set_event_loop(asyncio.new_event_loop())
else:
    asyncio.set_event_loop(uvloop.new_event_loop())
    uvloop.install = lambda: None
main()
"""


def _pproxy(program: str, place: Path, ports: Mapping[Via, int], origin_port: int) -> list[str]:
    """On uvloop where that is installed, as it would itself."""
    listen = [f"socks5://127.0.0.1:{ports['socks5']}", f"http://127.0.0.1:{ports['connect']}"]
    listen.append(f"tunnel{{127.0.0.1:{origin_port}}}://127.0.0.1:{ports['forward']}")
    return [program, "-P", "-c", _PPROXY, *(word for uri in listen for word in ("-l", uri))]


def _proxy_py(program: str, place: Path, ports: Mapping[Via, int], origin_port: int) -> list[str]:
    """It lowers its own limit of descriptors to 1024 unless an option forbids that."""
    most = str(resource.getrlimit(resource.RLIMIT_NOFILE)[0])
    command = [program, "-P", "-m", "proxy", "--hostname", "127.0.0.1", "--port", str(ports["connect"])]
    command += ["--num-acceptors", "1", "--num-workers", "1", "--log-level", "ERROR", "--timeout", "3600"]
    return [*command, "--open-file-limit", most, "--backlog", "4096", "--data-dir", str(place)]


def _bare(program: str, place: Path, ports: Mapping[Via, int], origin_port: int) -> list[str]:
    """No proxy that anybody uses: the bound for one in Python (bare.py)."""
    bare = Path(__file__).with_name("bare.py")
    return [program, "-P", str(bare), str(ports["socks5"]), str(ports["forward"]), str(origin_port)]


_TINY_PROXY = """
import sys, anyio, tiny_proxy
async def main():
    async with anyio.create_task_group() as tasks:
        for handler, port in (tiny_proxy.Socks5ProxyHandler, sys.argv[1]), (tiny_proxy.HttpProxyHandler, sys.argv[2]):
            listener = await anyio.create_tcp_listener(local_host="127.0.0.1", local_port=int(port), backlog=4096)
            tasks.start_soon(listener.serve, handler().handle)
anyio.run(main)
"""


def _tiny_proxy(program: str, place: Path, ports: Mapping[Via, int], origin_port: int) -> list[str]:
    """It is a library; this is its README's way to serve."""
    return [program, "-P", "-c", _TINY_PROXY, str(ports["socks5"]), str(ports["connect"])]


PEERS: Sequence[Through] = (
    Direct(),
    Peer("HAProxy", ("forward",), "haproxy", "haproxy", _DEBIAN, _haproxy),
    Peer("microsocks", ("socks5",), "microsocks", "microsocks", _DEBIAN, _microsocks),
    Peer("dante", ("socks5",), "dante-server", "danted", _DEBIAN, _dante),
    Peer("tinyproxy", ("connect",), "tinyproxy", "tinyproxy", _DEBIAN, _tinyproxy),
    Peer("squid", ("connect",), "squid", "squid", _DEBIAN, _squid),
    Peer("3proxy", ("forward", "socks5", "connect"), "3proxy", "3proxy", _NOT_IN_DEBIAN, _3proxy),
    Peer("pproxy", ("forward", "socks5", "connect"), "pproxy", "pproxy", _PYPI, _pproxy),
    Peer("proxy.py", ("connect",), "proxy.py", "proxy", _PYPI, _proxy_py),
    Peer("bare loop", ("forward", "socks5"), "", "select", _PYPI, _bare),
    Peer("tiny-proxy", ("socks5", "connect"), "tiny-proxy", "tiny_proxy", _PYPI, _tiny_proxy),
)
