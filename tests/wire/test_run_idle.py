"""What idle connections behind the NAT cost: memory and processor time."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from support.behind_nat import BACKENDS, HOST
from support.capabilities import need_root
from support.masses import mass_origin, resident_bytes
from support.programs import RELAY, clean_environment

pytestmark = [pytest.mark.system, pytest.mark.skipif(sys.platform != "linux", reason="namespaces are Linux's")]

FLOWS = 1000
MOST_BYTES = 10_000_000
MOST_OF_A_CORE = 0.05
WATCHED_S = 3.0


def processor_s(pid: int) -> float:
    """The processor time that a process has had."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def _tell(program: subprocess.Popen[str], words: str) -> None:
    assert program.stdin is not None
    program.stdin.write(words + "\n")
    program.stdin.flush()


def _told_by(program: subprocess.Popen[str]) -> str:
    assert program.stdout is not None
    return program.stdout.readline().strip()


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_thousand_idle_flows_take_little(backend: str) -> None:
    need_root()
    with mass_origin() as (_, port):
        guest = [sys.executable, "-m", "support.idle_guest", HOST, str(port), str(FLOWS)]
        command = [*RELAY, "run", "--backend", backend, "--", *guest]
        environment = clean_environment(PYTHONPATH=str(Path(__file__).parents[1]))
        with subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment
        ) as relay:
            assert _told_by(relay) == "ready"
            before = resident_bytes(relay.pid)
            _tell(relay, "more")
            assert _told_by(relay) == str(FLOWS)
            grown = resident_bytes(relay.pid) - before
            began_s, began = time.monotonic(), processor_s(relay.pid)
            time.sleep(WATCHED_S)
            share = (processor_s(relay.pid) - began) / (time.monotonic() - began_s)
            relay.communicate(timeout=60)
            assert relay.returncode == 0
    assert grown < MOST_BYTES, f"{grown / FLOWS:.0f} bytes a flow"
    assert share < MOST_OF_A_CORE
