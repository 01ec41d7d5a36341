"""Relay commands by the hundred: each a process of its own, forked from one that has imported the relay already.

A fresh interpreter spends most of a second on imports; a fork is there in a few hundredths. Where there is no fork
(Windows) it is a fresh interpreter after all.
"""

from __future__ import annotations

import multiprocessing
import os
import subprocess
import sys
import tempfile
from pathlib import Path

from relay.cli.main import main
from support.programs import clean_environment

if sys.platform == "win32":
    _PROCESSES = multiprocessing.get_context("spawn")
else:
    _PROCESSES = multiprocessing.get_context("forkserver")
_DEADLINE_S = 60.0
# Commands import what they need when they are run; anyio, and a fork of a pytest, likewise.
_COMMANDS = ["relay.cli.main", "relay.cli.serving", "relay.workers", "relay.cli.reports.explain", "relay.demo"]
_PROCESSES.set_forkserver_preload([*_COMMANDS, "trio", "pytest"])


def relay_in_fork(*arguments: str, **env: str) -> subprocess.CompletedProcess[str]:
    """Run a relay command that ends by itself, and keep what it said; see `support.programs.relay`."""
    with tempfile.TemporaryDirectory() as directory:
        process = _PROCESSES.Process(target=_become_relay, args=(arguments, clean_environment(**env), directory))
        process.start()
        process.join(_DEADLINE_S)
        hangs = process.is_alive()
        if hangs:
            process.kill()
            process.join()
        stdout, stderr = (Path(directory, name).read_text() for name in ("stdout", "stderr"))
        assert not hangs, f"{arguments} {env} has not ended within {_DEADLINE_S:g} s: {stdout}{stderr}"
        return subprocess.CompletedProcess(arguments, process.exitcode or 0, stdout, stderr)


def _become_relay(arguments: tuple[str, ...], environment: dict[str, str], directory: str) -> None:
    os.environ.clear()
    os.environ.update(environment)
    for descriptor, name in ((1, "stdout"), (2, "stderr")):
        os.dup2(os.open(f"{directory}/{name}", os.O_WRONLY | os.O_CREAT), descriptor)
    sys.argv[1:] = arguments
    main()
