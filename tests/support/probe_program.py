"""A probe server as a program."""

from __future__ import annotations

import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from support.programs import RELAY, clean_environment


@contextmanager
def probe_server(tmp_path: Path, *options: str, **env: str) -> Iterator[tuple[list[int], subprocess.Popen[str]]]:
    """A server that runs, and its two ports."""
    ports = tmp_path / "probe-ports"
    command = [*RELAY, "probe", "server", "--listen", "127.0.0.1:0", "--port-file", str(ports), *options]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=clean_environment(**env)) as server:
        try:
            until = time.monotonic() + 60
            while not (ports.exists() and ports.read_text()):
                assert server.poll() is None
                assert time.monotonic() < until
                time.sleep(0.02)
            yield [int(port) for port in ports.read_text().split()], server
        finally:
            server.send_signal(signal.SIGTERM)
            server.wait(60)
