"""The soak, in its short form: a minute of mixed traffic in all."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from relay.backend import BACKENDS
from support.capabilities import need_root
from support.programs import run

pytestmark = pytest.mark.system

SECONDS = 60 // len(BACKENDS)
STORIES = 8
CUT_SHORT = (
    ("--seed", "3436256515", "--only", "1234"),
    # A server's reset behind its last bytes, while app and relay have both closed their windows: they once never came.
    ("--seed", "1941455088", "--only", "387"),
    # A server that waits for its acknowledgement with its window closed: Linux looks at no ACK then.
)


@pytest.mark.parametrize("backend", BACKENDS)
def test_mixed_traffic_has_no_wrong_byte_and_leaves_nothing_behind(backend: str) -> None:
    need_root()  # so that changes of the TOS byte are seen exactly, and a frozen side hears nothing
    command = (sys.executable, "-m", "bench.soak", "--seconds", str(SECONDS), "--backend", backend)
    done = run(*command, timeout_s=SECONDS + 60, cwd=Path(__file__).parents[1])
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stderr == ""
    rows = [line.strip("| ").split(" | ") for line in done.stdout.splitlines() if line.startswith("| ")]
    counts = [int(row[-1]) for row in rows[2 : 2 + STORIES]]  # below the head and its rule
    assert all(counts), done.stdout


@pytest.mark.parametrize("flow", CUT_SHORT, ids="-".join)
def test_a_flow_that_was_cut_short_once_is_whole(backend: str, flow: tuple[str, ...]) -> None:
    need_root()
    command = (sys.executable, "-m", "bench.soak", "--backend", backend, "--seconds", "4", *flow)
    done = run(*command, timeout_s=60, cwd=Path(__file__).parents[1])
    assert done.returncode == 0, done.stdout + done.stderr
