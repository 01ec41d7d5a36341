"""Files that are written in a directory of many: no symbolic link in it leads the relay to another file."""

from __future__ import annotations

import json
import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from support.capabilities import missing
from support.forks import relay_in_fork
from support.programs import RELAY, clean_environment, serve


def plant(directory: Path, *, target_exists: bool) -> tuple[Path, Path]:
    """A link, and the file of the relay's user that it leads to."""
    target, link = directory / "precious", directory / "link"
    if target_exists:
        target.write_text("precious\n")
    try:
        link.symlink_to(target)
    except OSError:
        missing("needs symbolic links")
    return link, target


def refusal(option: str, path: object) -> tuple[int, list[str]]:
    done = relay_in_fork("serve", "--listen", "127.0.0.1:0", option, str(path))
    return done.returncode, done.stderr.splitlines()


@pytest.mark.parametrize("target_exists", [True, False])
@pytest.mark.parametrize("option", ["--events", "--pcap", "--port-file"])
def test_a_link_is_refused_and_what_it_leads_to_is_left_alone(option: str, target_exists: bool, tmp_path: Path) -> None:
    link, target = plant(tmp_path, target_exists=target_exists)
    assert refusal(option, link) == (
        2,
        [f"relay: {option}: cannot write {link}: it is a symbolic link", "hint: name the file that it leads to"],
    )
    assert (target.exists(), link.is_symlink()) == (target_exists, True)
    assert not target_exists or target.read_text() == "precious\n"


def test_a_link_with_the_unfinished_port_files_name_is_not_followed(backend: str, tmp_path: Path) -> None:
    _, target = plant(tmp_path, target_exists=True)
    ports = tmp_path / "ports"
    planted = f'ln -s "{target}" "{ports}.$$" && exec "$@"'
    command = ["sh", "-c", planted, "sh", *RELAY, "serve", "--listen", "127.0.0.1:0", "--backend", backend]
    with subprocess.Popen(
        [*command, "--port-file", str(ports)], stderr=subprocess.PIPE, text=True, env=clean_environment()
    ) as process:
        try:
            assert process.stderr is not None
            process.stderr.readline()  # the ports are written before
            assert ports.read_text().strip().isdigit()
        finally:
            process.terminate()
            process.communicate(timeout=20)
    assert target.read_text() == "precious\n"
    assert ports.is_file()
    assert not ports.is_symlink()


def test_an_event_log_is_for_its_user_alone_and_an_older_one_is_appended_to(backend: str, tmp_path: Path) -> None:
    for _ in range(2):
        with serve(tmp_path, "--backend", backend) as served:
            served.wait_for("relay-started")
    assert [event["event"] for event in served.events()].count("relay-stopped") == 2
    if sys.platform != "win32":
        assert stat.S_IMODE(served.events_file.stat().st_mode) == 0o600


def test_a_link_to_a_pipe_is_written_into() -> None:
    if not Path("/dev/stdout").is_symlink():
        missing("needs /dev/stdout")
    command = [*RELAY, "serve", "--quiet", "--listen", "127.0.0.1:0", "--events", "/dev/stdout"]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, env=clean_environment()
    ) as process:
        assert process.stdout is not None
        assert json.loads(process.stdout.readline())["event"] == "relay-started"
        process.terminate()
        assert process.wait(20) == 0


def test_an_event_log_for_a_fifo_that_is_not_read_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "fifo"
    if sys.platform == "win32":
        missing("needs FIFOs")
    os.mkfifo(path)
    assert refusal("--events", path) == (
        2,
        [f"relay: --events: cannot write {path}: this FIFO has no reader", "hint: start its reader before the relay"],
    )
