"""The relay where Linux's ways are missing: it imports, carries bytes, says what it cannot show, and stops."""

from __future__ import annotations

import json
import sys
from functools import cache
from pathlib import Path

import pytest

from support.capabilities import missing
from support.poor_host import CHECKS
from support.programs import clean_environment, run

pytestmark = pytest.mark.system

_TESTS = Path(__file__).parent


@cache
def fared(platform: str, backend: str) -> dict[str, str]:
    """How a relay fares in a process that has less: one for all checks, for most of its time goes into imports."""
    command = (sys.executable, "-W", "error", "-m", "support.poor_host", platform, backend)
    done = run(*command, timeout_s=100, env=clean_environment(PYTHONPATH=str(_TESTS)))
    assert (done.returncode, done.stderr) == (0, "")
    results: dict[str, str] = json.loads(done.stdout)
    return results


@pytest.mark.parametrize("check", [check.__name__ for check in CHECKS])
@pytest.mark.parametrize("platform", ["bare", "darwin", "win32"])
def test_it_does_without_what_only_linux_has(platform: str, check: str, backend: str) -> None:
    if sys.platform != "linux":
        missing("only Linux has enough to take away; this host is what it is")
    assert fared(platform, backend)[check] == "ok"
