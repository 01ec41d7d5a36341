"""Plain HTTP's two ends: nginx with a small answer and a large one as the origin, wrk and ab as clients.

wrk speaks HTTP/1.1 and keeps its connections; its requests carry the absolute URL that proxies take (web.lua). ab
speaks HTTP/1.0, kept (`-k`) or with a connection for each request. Both check status codes; a load that sees another
than 200, or an error of a socket, gives no figure.
"""

from __future__ import annotations

import contextlib
import csv
import json
import re
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from bench.ends import LoadFailed
from bench.through import find_program, free_ports, spawned, wait_until_up

ANSWER_BYTES = 48  # with nginx's head about 280: what an API's status page sends
LARGE_BYTES = 1 << 20
_PACKAGES = {"nginx": "nginx-light", "wrk": "wrk", "ab": "apache2-utils"}
_LOAD_S = 60  # at most; wrk takes as long as its option says, ab as long as the proxy does


def web_is_missing() -> str | None:
    """What plain HTTP cannot be measured without, and how to get it; None if all is here."""
    missing = [package for program, package in _PACKAGES.items() if find_program(program) is None]
    return f"plain HTTP's two ends: apt-get install {' '.join(missing)}" if missing else None


@dataclass(frozen=True)
class Web:
    """A running nginx, and the loads that ask for its answers through a proxy on a port of 127.0.0.1."""

    place: Path
    origin_port: int

    def wrk(self, port: int, connections: int, lasts_s: int, path: str = "/") -> dict[str, float]:
        """HTTP/1.1 on kept connections, one thread, for `lasts_s` seconds."""
        command = ["wrk", "-t1", f"-c{connections}", f"-d{lasts_s}s", "-s", str(Path(__file__).with_name("web.lua"))]
        said = _run([*command, f"http://127.0.0.1:{port}", "--", self._url(path)])
        figures: dict[str, float] = json.loads(said.splitlines()[-1])
        if errors := figures.pop("errors"):
            raise LoadFailed(f"wrk: {errors} errors in {figures['count']} requests")
        if not figures["count"]:
            raise LoadFailed("wrk: no request was answered")
        return figures

    def ab(self, port: int, connections: int, count: int, *, keep: bool) -> dict[str, float]:
        """HTTP/1.0, `count` requests; `kept_percent` is how many shared a connection with the one before."""
        times = self.place / "ab.csv"
        command = ["ab", "-q", "-c", str(connections), "-n", str(count), "-X", f"127.0.0.1:{port}", "-e", str(times)]
        said = _run([*command, *(["-k"] if keep else []), self._url("/")])
        failed = _number(said, "Failed requests") + _number(said, "Non-2xx responses", 0)
        if failed or _number(said, "Complete requests") != count:
            raise LoadFailed(f"ab: {failed:g} of {count} requests failed")
        at_ms = [float(row[1]) for row in list(csv.reader(times.read_text().splitlines()))[1:]]
        return {
            "count": count,
            "took_s": _number(said, "Time taken for tests"),
            "per_s": _number(said, "Requests per second"),
            "p50_us": at_ms[50] * 1e3,
            "p99_us": at_ms[99] * 1e3,
            "kept_percent": 100 * _number(said, "Keep-Alive requests", 0) / count,
        }

    def _url(self, path: str) -> str:
        return f"http://127.0.0.1:{self.origin_port}{path}"


@contextlib.contextmanager
def open_web(place: Path) -> Iterator[Web]:
    """Run nginx in `place`: `/` is the small answer, `/large` one with a length, `/chunked` the same in chunks."""
    program = find_program("nginx")
    assert program is not None
    (port,) = free_ports(1)
    root = place / "web"
    root.mkdir()
    (root / "large").write_bytes(bytes(LARGE_BYTES))
    (root / "chunked.html").write_text("x" * LARGE_BYTES)
    (root / "nginx.conf").write_text(
        f"""
daemon off;
pid {root}/pid;
error_log {root}/error.log;
user root;
events {{ worker_connections 4096; }}
http {{
    access_log off;
    keepalive_requests 100000000;
    client_body_temp_path {root}/body;
    proxy_temp_path {root}/proxy;
    fastcgi_temp_path {root}/fastcgi;
    uwsgi_temp_path {root}/uwsgi;
    scgi_temp_path {root}/scgi;
    server {{
        listen 127.0.0.1:{port} backlog=4096;
        root {root};
        location = / {{ return 200 "{"x" * ANSWER_BYTES}"; }}
        location = /chunked {{ ssi on; default_type text/html; try_files /chunked.html =404; }}
    }}
}}
"""
    )
    with spawned([program, "-p", str(root), "-c", str(root / "nginx.conf")], root) as process:
        wait_until_up(process, [port], root)
        yield Web(root, port)


def _run(command: list[str]) -> str:
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=_LOAD_S)
    except subprocess.TimeoutExpired:
        raise LoadFailed(f"{command[0]}: not done after {_LOAD_S} s") from None
    if done.returncode != 0:
        raise LoadFailed(f"{command[0]}: {done.stderr.strip()[-300:]}")
    return done.stdout


def _number(said: str, title: str, absent: float | None = None) -> float:
    found = re.search(rf"^{re.escape(title)}:\s+([0-9.]+)", said, re.MULTILINE)
    if found is None:
        if absent is None:
            raise LoadFailed(f"ab does not say: {title}")
        return absent
    return float(found[1])
