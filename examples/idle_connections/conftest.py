"""The servers of these examples, real ones on loopback; in your project they are the ones that your tests have already.

Each is started once for a module. The programs are of Debian's packages `postgresql` and `redis-server`.
"""

from __future__ import annotations

import contextlib
import functools
import glob
import os
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator

import pytest

Address = tuple[str, int]


@pytest.fixture(scope="module")
def postgres() -> Iterator[Address]:
    """Where PostgreSQL listens; the user is `postgres`, without a password."""
    user = "postgres" if os.geteuid() == 0 else None  # it refuses to run as root
    run = functools.partial(subprocess.run, check=True, stdout=subprocess.DEVNULL, user=user)
    with tempfile.TemporaryDirectory() as folder:
        port, data = free_port(), f"{folder}/data"
        if user is not None:
            shutil.chown(folder, user)
        run([program("initdb"), "-D", data, "-U", "postgres", "-A", "trust", "--no-sync"], cwd=folder)
        options = f"-h 127.0.0.1 -p {port} -k {folder} -F"
        run([program("pg_ctl"), "-D", data, "-l", f"{folder}/log", "-w", "-o", options, "start"], cwd=folder)
        try:
            yield "127.0.0.1", port
        finally:
            run([program("pg_ctl"), "-D", data, "-m", "immediate", "stop"], cwd=folder)


@pytest.fixture(scope="module")
def redis_server() -> Iterator[Address]:
    """Where Redis listens; it keeps nothing on the disk."""
    address = "127.0.0.1", free_port()
    command = [program("redis-server"), "--bind", address[0], "--port", str(address[1]), "--save", ""]
    with tempfile.TemporaryDirectory() as folder:
        process = subprocess.Popen(command, cwd=folder, stdout=subprocess.DEVNULL)
        try:
            wait_until_it_listens(address)
            yield address
        finally:
            process.terminate()
            process.wait()


def program(name: str) -> str:
    """Its path; Debian's PostgreSQL is not on PATH."""
    folders = [*os.get_exec_path(), *sorted(glob.glob("/usr/lib/postgresql/*/bin"), reverse=True)]
    path = shutil.which(name, path=os.pathsep.join(folders))
    assert path is not None, f"{name} is not installed"
    return path


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port: int = listener.getsockname()[1]
        return port


def wait_until_it_listens(address: Address) -> None:
    deadline_s = time.monotonic() + 10
    while True:
        with contextlib.suppress(ConnectionRefusedError), socket.create_connection(address):
            return
        assert time.monotonic() < deadline_s, f"nothing listens at {address}"
        time.sleep(0.01)
