"""The soak, in its short form: half a minute of mixed traffic on each backend."""

from __future__ import annotations

import sys
from pathlib import Path

from support.capabilities import need_root
from support.programs import run

SECONDS = 30
STORIES = 8


def test_half_a_minute_of_mixed_traffic_has_no_wrong_byte_and_leaves_nothing_behind(backend: str) -> None:
    need_root()  # so that changes of the TOS byte are seen exactly, and a frozen side hears nothing
    command = (sys.executable, "-m", "bench.soak", "--seconds", str(SECONDS), "--backend", backend)
    done = run(*command, timeout_s=SECONDS + 60, cwd=Path(__file__).parents[1])
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stderr == ""
    rows = [line.strip("| ").split(" | ") for line in done.stdout.splitlines() if line.startswith("| ")]
    counts = [int(row[-1]) for row in rows[1 : 1 + STORIES]]
    assert all(counts), done.stdout
