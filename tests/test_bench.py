"""The benchmark measures what it says: a quick run through real proxies."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from support.capabilities import need_program

ROOT = Path(__file__).parents[1]
pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="it reads /proc, and its ends are epoll's")


def bench(*arguments: str) -> str:
    command = [sys.executable, "-m", "bench", "--quick", *arguments]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True, timeout=60).stdout


def test_a_quick_run_has_every_figure_of_every_way(tmp_path: Path) -> None:
    for program in ("cc", "haproxy", "microsocks"):
        need_program(program)
    result = tmp_path / "result.json"
    said = bench(
        *("--rounds", "1", "--json", str(result)),
        *("--through", "direct", "HAProxy", "microsocks", "vmware-fusion, asyncio"),
        *("--only", "bulk-up-1", "bulk-down-8", "forward-64", "socks5-1", "ping-pong", "idle-50"),
    )
    values: dict[str, Any] = json.loads(result.read_text())
    assert values["failures"] == []
    measured = {(value["quantity"], value["through"]) for value in values["values"]}
    for through in ("direct", "HAProxy", "microsocks", "vmware-fusion, asyncio"):
        for quantity in ("bulk-up-1", "bulk-down-8", "ping-pong", "idle-50"):
            assert (quantity, through) in measured
            assert f"| {through} |" in said
    assert ("socks5-1", "microsocks") in measured
    assert ("socks5-1", "HAProxy") not in measured
    assert ("forward-64", "HAProxy") in measured
