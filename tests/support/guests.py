"""Commands that run in a network of their own, started as another program would: by root, or by an ordinary user."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from support.capabilities import need_program, need_root
from support.programs import as_ordinary_user, clean_environment

_TESTS = Path(__file__).parents[1]
USERS = ("root", "ordinary user")
_TUN_FOR_ALL = "mount -t tmpfs none /mnt && mknod -m 666 /mnt/tun c 10 200 && mount --bind /mnt/tun /dev/net/tun"


def guest_command(*command: str, user: str = "root", options: Sequence[str] = ()) -> list[str]:
    """What runs a command in a network of its own, as this user."""
    need_root()
    program = [sys.executable, "-m", "support.guest_program", *options, "--", *command]
    return [*as_ordinary_user(), *program] if user != "root" else program


def with_open_tun(command: Sequence[str]) -> list[str]:
    """The command that runs another where every user may open /dev/net/tun."""
    return [need_program("unshare"), "--mount", "sh", "-c", f'{_TUN_FOR_ALL} && exec "$@"', "sh", *command]


def environment() -> dict[str, str]:
    return clean_environment(PYTHONPATH=str(_TESTS))


def run_guest(command: Sequence[str], **more: Any) -> subprocess.CompletedProcess[str]:
    """Run it to its end, and keep what it said."""
    arguments = {"capture_output": True, "text": True, "timeout": 90, "env": environment(), **more}
    return subprocess.run(command, check=False, **arguments)


@contextlib.contextmanager
def started_guest(command: Sequence[str], **more: Any) -> Iterator[subprocess.Popen[str]]:
    """Run it until the block ends, or it does."""
    with subprocess.Popen(command, **{"text": True, "env": environment(), **more}) as process:
        try:
            yield process
        finally:
            process.kill()


def processes_with(words: str) -> dict[int, str]:
    """The processes whose command line has these words, and those command lines."""
    found = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and int(entry.name) != os.getpid():
            with contextlib.suppress(OSError):
                line = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
                if words in line:
                    found[int(entry.name)] = line
    return found


def wait_for_processes(words: str, count: int, *, timeout_s: float = 60.0) -> dict[int, str]:
    """Wait until there are so many processes with these words in their command line."""
    deadline_s = time.monotonic() + timeout_s
    while len(found := processes_with(words)) != count:
        assert time.monotonic() < deadline_s, f"not {count} processes with {words!r} but {found}"
        time.sleep(0.02)  # other processes' children cannot be waited on
    return found


def kill(pid: int) -> None:
    os.kill(pid, signal.SIGKILL)
