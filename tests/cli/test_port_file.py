"""`--port-file`: whole where it is a regular file; no other file, device or directory comes to harm."""

from __future__ import annotations

import os
import socket
import stat
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from support.capabilities import missing
from support.forks import relay_in_fork
from support.programs import RELAY, clean_environment

_NULL = os.makedev(1, 3) if hasattr(os, "makedev") else 0  # what /dev/null is on Linux


@contextmanager
def serving(path: Path, backend: str) -> Iterator[int]:
    """A relay that has written its port to `path`; the port."""
    if sys.platform == "win32":
        missing("on Windows no signal stops a process")
    command = [*RELAY, "serve", "--listen", "127.0.0.1:0", "--backend", backend, "--port-file", str(path)]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=clean_environment()) as process:
        try:
            assert process.stderr is not None
            told = [process.stderr.readline(), process.stderr.readline()]  # the ports are written before
            assert told[1].startswith("proxy   127.0.0.1:"), told
            yield int(told[1].split()[1].rpartition(":")[2])
        finally:
            process.terminate()
            process.communicate(timeout=20)


def complaint(path: str, *arguments: str) -> tuple[int, list[str]]:
    """The exit code of a relay that cannot start, and what it says."""
    done = relay_in_fork("serve", "--listen", "127.0.0.1:0", "--port-file", path, *arguments)
    return done.returncode, done.stderr.splitlines()


def test_a_file_of_an_earlier_run_is_replaced_as_a_whole(backend: str, tmp_path: Path) -> None:
    path = tmp_path / "ports"
    path.write_text("1\n2\n3\n")
    with path.open() as earlier, serving(path, backend) as port:
        assert (path.read_text(), earlier.read()) == (f"{port}\n", "1\n2\n3\n")
    assert os.listdir(tmp_path) == ["ports"]


def test_a_fifo_is_written_into(backend: str, tmp_path: Path) -> None:
    path = tmp_path / "fifo"
    os.mkfifo(path)
    with open(os.open(path, os.O_RDONLY | os.O_NONBLOCK)) as reader, serving(path, backend) as port:
        assert reader.read() == f"{port}\n"
        assert path.is_fifo()
    assert os.listdir(tmp_path) == ["fifo"]


def test_a_fifo_without_a_reader_is_named(tmp_path: Path) -> None:
    path = tmp_path / "fifo"
    os.mkfifo(path)
    assert complaint(str(path)) == (
        2,
        [
            f"relay: --port-file: cannot write {path}: this FIFO has no reader",
            "hint: start its reader before the relay",
        ],
    )


def test_a_device_is_written_into_and_stays_one(backend: str, tmp_path: Path) -> None:
    path = tmp_path / "null"
    try:
        os.mknod(path, stat.S_IFCHR | 0o600, _NULL)
        path.write_text("")
    except (AttributeError, PermissionError):
        missing("needs root, and a file system that takes devices")
    with serving(path, backend):
        assert path.is_char_device()
    assert os.listdir(tmp_path) == ["null"]


@pytest.mark.parametrize(("name", "shown"), [("", "."), (".", "."), ("..", ".."), ("/", "/"), ("/tmp/", "/tmp")])  # noqa: S108
def test_a_directory_is_refused(name: str, shown: str) -> None:
    assert complaint(name) == (
        2,
        [f"relay: --port-file: cannot write {shown}: Is a directory", "hint: name a file that can be written"],
    )


@pytest.mark.parametrize("why", ["--profile nosuch", "--listen 127.0.0.1:{taken}", "--observer nosuch", "--lisen x"])
def test_a_start_that_fails_leaves_what_is_there(why: str, tmp_path: Path) -> None:
    path = tmp_path / "ports"
    path.write_text("precious\n")
    with socket.create_server(("127.0.0.1", 0)) as holder:
        code, told = complaint(str(path), *why.format(taken=holder.getsockname()[1]).split())
    assert (code, len(told), os.listdir(tmp_path), path.read_text()) == (2, 2, ["ports"], "precious\n")
