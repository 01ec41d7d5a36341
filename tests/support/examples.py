"""The programs in examples/, run as their readers run them."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from support.programs import clean_environment, run

EXAMPLES = Path(__file__).parents[2] / "examples"
_SHOW_LEAKS = ("-W", "always::ResourceWarning")


def play(*arguments: str, prefix: Sequence[str] = (), **env: str) -> subprocess.CompletedProcess[str]:
    """Run an example, `NAME.py` and what it takes, by `prefix` if there is one, in a folder of no importance."""
    quiet = {"PYTHONDONTWRITEBYTECODE": "1", "NO_COLOR": "1"}
    program = (sys.executable, *_SHOW_LEAKS, str(EXAMPLES / arguments[0]), *arguments[1:])
    with tempfile.TemporaryDirectory() as folder:
        return run(*prefix, *program, timeout_s=100, env=clean_environment(**quiet, **env), cwd=Path(folder))


def assert_told(done: subprocess.CompletedProcess[str], *patterns: str, stderr: str = "") -> None:
    """Insist that a program ended well, with a line for each pattern and nothing else to say."""
    told = f"exit code {done.returncode}\n{done.stdout}{done.stderr}"
    assert done.returncode == 0, told
    assert re.fullmatch(stderr, done.stderr), told
    lines = done.stdout.splitlines()
    assert len(lines) == len(patterns), told
    for line, pattern in zip(lines, patterns, strict=True):
        assert re.fullmatch(pattern, line), f"{line!r} is not {pattern!r} in\n{told}"


def is_root() -> bool:
    return hasattr(os, "geteuid") and os.geteuid() == 0
