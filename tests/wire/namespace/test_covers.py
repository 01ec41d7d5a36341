"""Files that read otherwise for the command, also after the host has replaced them."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from relay.wire.namespace import mounts
from support.capabilities import need_program, need_root
from support.guests import environment

pytestmark = pytest.mark.system

PROGRAM = """
import os, select, sys
from relay.wire.namespace.mounts import Covers
covers = Covers({path: "covered" for path in sys.argv[1:]})
print("ready", flush=True)
while True:
    ready, _, _ = select.select([0, covers.changes], [], [])
    if covers.changes in ready:
        covers.renew()
    if 0 in ready:
        word = os.read(0, 1000).decode()
        if not word:
            break
        try:
            with open(word.strip()) as file:
                print(file.read().strip(), flush=True)
        except OSError as error:
            print(type(error).__name__, flush=True)
"""


class Reader:
    """A process with files covered, in a mount namespace of its own."""

    def __init__(self, *paths: Path) -> None:
        need_root()
        command = [need_program("unshare"), "--mount", sys.executable, "-c", PROGRAM, *map(str, paths)]
        self._process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment(), bufsize=1
        )
        assert self._said() == "ready"

    def __enter__(self) -> Reader:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.communicate(timeout=60)
        assert self._process.returncode == 0

    def read(self, path: Path) -> str:
        assert self._process.stdin is not None
        self._process.stdin.write(f"{path}\n")
        return self._said()

    def _said(self) -> str:
        assert self._process.stdout is not None
        return self._process.stdout.readline().strip()


@pytest.fixture
def file(tmp_path: Path) -> Path:
    found = tmp_path / "resolv.conf"
    found.write_text("the host's")
    return found


def test_a_covered_file_reads_otherwise_and_the_host_s_is_as_before(file: Path) -> None:
    with Reader(file) as reader:
        assert reader.read(file) == "covered"
        assert file.read_text() == "the host's"


def test_the_target_of_a_symbolic_link_is_covered(file: Path, tmp_path: Path) -> None:
    link = tmp_path / "link"
    link.symlink_to("resolv.conf")
    with Reader(link) as reader:
        assert (reader.read(link), reader.read(file)) == ("covered", "covered")


def test_a_file_that_the_host_replaces_is_covered_again(file: Path, tmp_path: Path) -> None:
    """Three times, for each takes the copy that was kept for it."""
    with Reader(file) as reader:
        for number in range(3):
            new = tmp_path / f"new{number}"
            new.write_text("replaced")
            os.replace(new, file)
            assert reader.read(file) == "covered"
        assert file.read_text() == "replaced"


def test_a_file_that_the_host_removes_is_covered_when_it_comes_back(file: Path) -> None:
    with Reader(file) as reader:
        file.unlink()
        assert reader.read(file) == "FileNotFoundError"
        file.write_text("back again")
        assert reader.read(file) == "covered"


def test_a_link_that_the_host_turns_elsewhere_is_followed(file: Path, tmp_path: Path) -> None:
    link, new, other = tmp_path / "link", tmp_path / "new", tmp_path / "elsewhere" / "resolv.conf"
    other.parent.mkdir()
    other.write_text("of another service")
    link.symlink_to(file)
    with Reader(link) as reader:
        new.symlink_to(other)
        os.replace(new, link)
        assert reader.read(link) == "covered"
        new.write_text("and replaced there")
        os.replace(new, other)
        assert reader.read(link) == "covered", "the directory that the link leads to is watched now"


def test_a_resolver_s_socket_is_no_socket_any_more(tmp_path: Path) -> None:
    """The C library asks /etc/resolv.conf's servers when it cannot connect to it."""
    path = tmp_path / "io.systemd.Resolve"
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
        listener.listen()
        program = f"from relay.wire.namespace import mounts; mounts.RESOLVERS = ({str(path)!r},)" + PROGRAM
        done = subprocess.run(
            [need_program("unshare"), "--mount", sys.executable, "-c", program],
            input=f"{path}\n",
            capture_output=True,
            text=True,
            env=environment(),
            check=False,
            timeout=60,
        )
        assert done.stdout == "ready\n\n", done.stderr
        assert mounts._is_socket(str(path))
