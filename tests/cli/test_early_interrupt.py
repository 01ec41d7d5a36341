"""Ctrl-C while a command still starts: it ends at once, and shows no traceback.

The signal comes at given steps of the start, counted by an audit hook from the moment when the command's own imports
begin. It is not covered before: for some 10 to 20 ms Python raises KeyboardInterrupt within its own `site`, the imports
of the installed script or this package's `__init__`, and shows that.
"""

from __future__ import annotations

import contextlib
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from support.capabilities import missing
from support.programs import RELAY, clean_environment

_STEPS = ("exec 1", "exec 250", "exec 600", "exec 1000", "socket.bind 1", "socket.bind 5")
"""An audit event, and which of its kind; a whole start has some 1,300 times exec, and binds after that."""
_SERVE = (*RELAY, "serve", "--listen", "127.0.0.1:0", "--backend")
_COMMANDS = (
    (*_SERVE, "asyncio"),
    (*_SERVE, "trio"),
    (*RELAY, "demo"),
    (sys.executable, "-P", "-m", "relay", "serve", "--listen", "127.0.0.1:0"),
)
_PRESS_CTRL_C = """
import os, signal, sys
event, _, number = os.environ["PRESS_AT"].partition(" ")
begun, left = False, int(number)
def look(seen, details):
    global begun, left
    begun = begun or (seen == "import" and details[0] == "relay.cli")
    if begun and seen == event:
        left -= 1
        if not left:
            os.kill(os.getpid(), signal.SIGINT)
sys.addaudithook(look)
"""


@pytest.mark.parametrize("command", _COMMANDS, ids=lambda command: " ".join(command[-2:]))
def test_it_ends_at_once_and_quietly(command: tuple[str, ...], tmp_path: Path) -> None:
    if sys.platform == "win32":
        missing("there is no SIGINT to send")
    (tmp_path / "sitecustomize.py").write_text(_PRESS_CTRL_C)
    with contextlib.ExitStack() as stack:
        processes = {}
        for step in _STEPS:
            processes[step] = stack.enter_context(
                subprocess.Popen(
                    command,
                    stdout=subprocess.DEVNULL,
                    stderr=subprocess.PIPE,
                    text=True,
                    env=clean_environment(PYTHONPATH=str(tmp_path), PRESS_AT=step),
                    cwd=tmp_path,
                )
            )
            stack.callback(processes[step].kill)
        for step, process in processes.items():
            _, told = process.communicate(timeout=20)
            assert "Traceback" not in told, (step, told)
            assert "relay:" not in told, (step, told)
            if step.startswith("exec"):
                assert (process.returncode, told) == (-signal.SIGINT, ""), step  # which a shell calls 130
            else:
                assert process.returncode in {-signal.SIGINT, 130, 0}, step
