"""`relay run`: each connection shows the guest's process, also that of a program which lives for milliseconds."""

from __future__ import annotations

import shlex
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from support.behind_nat import BACKENDS, HOST, run_inside
from support.origins import Origin, echo
from support.programs import as_ordinary_user
from support.web import web

pytestmark = [pytest.mark.system, pytest.mark.skipif(sys.platform != "linux", reason="namespaces are Linux's")]

# Connects, in the one process that a shell's `exec` made of it or in a child's child, and ends at once.
BRIEF = "import socket, sys; socket.create_connection((sys.argv[1], int(sys.argv[2]))).close()"
AT_ONCE = "import socket, sys; s = socket.socket(); s.setblocking(False); s.connect_ex((sys.argv[1], int(sys.argv[2])))"


def names(events: list[dict[str, Any]]) -> Counter[str]:
    """How often each name stands in the records of flows that were opened; `-` is none."""
    opened = [each for each in events if each["event"] == "flow-opened"]
    return Counter(each["process"]["name"] if each["process"] else "-" for each in opened)


@pytest.mark.parametrize("backend", BACKENDS)
def test_curl_is_named_in_99_of_100_runs_however_short_its_life(tmp_path: Path, backend: str) -> None:
    with Origin(web()) as origin:
        script = f"for each in $(seq 100); do curl -s -o /dev/null http://{HOST}:{origin.port}/ || exit 1; done"
        done, events = run_inside(tmp_path, ["sh", "-c", script], "--backend", backend, timeout_s=60)
    assert (done.returncode, done.stderr) == (0, "")
    found = names(events)
    assert found.total() == 100
    assert found["curl"] >= 99, found


def test_every_record_of_a_flow_has_the_process_and_its_id_is_the_one_that_the_program_has(tmp_path: Path) -> None:
    script = f"import os; print(os.getpid()); {BRIEF}"
    with Origin(echo) as origin:
        command = [sys.executable, "-c", script, HOST, str(origin.port)]
        done, events = run_inside(tmp_path, command)
    flows = [each["process"] for each in events if each["flow"] is not None]
    assert len(flows) > 2
    name = Path(sys.executable).name[:15]
    assert {(each["pid"], each["name"]) for each in flows} == {(int(done.stdout), name)}


def test_a_program_deep_in_a_tree_of_processes_is_found(tmp_path: Path) -> None:
    with Origin(echo) as origin:
        words = shlex.join([sys.executable, "-c", BRIEF, HOST, str(origin.port)])
        sleepers = "for each in $(seq 40); do sleep 60 & done"
        script = f"{sleepers}; for each in $(seq 10); do sh -c {shlex.quote(f'setsid {words}; true')}; done"
        done, events = run_inside(tmp_path, ["sh", "-c", script], timeout_s=60)
    assert (done.returncode, done.stderr) == (0, "")
    assert names(events) == {Path(sys.executable).name[:15]: 10}


@pytest.mark.parametrize("options", [(), ("--map-root",)])
def test_an_ordinary_users_programs_are_named(tmp_path: Path, options: tuple[str, ...]) -> None:
    tmp_path.chmod(0o777)
    prefix = as_ordinary_user()
    with Origin(web()) as origin:
        script = f"for each in $(seq 10); do curl -s -o /dev/null http://{HOST}:{origin.port}/ || exit 1; done"
        done, events = run_inside(tmp_path, ["sh", "-c", script], *options, prefix=prefix)
    assert (done.returncode, done.stderr) == (0, "")
    assert names(events) == {"curl": 10}


def test_a_program_that_does_not_wait_for_the_answer_does_no_harm(tmp_path: Path) -> None:
    with Origin(echo) as origin:
        command = [sys.executable, "-S", "-c", AT_ONCE, HOST, str(origin.port)]
        done, events = run_inside(tmp_path, command)
    assert (done.returncode, done.stderr) == (0, "")
    assert names(events).total() <= 1  # it may be gone before its SYN was read; then nothing is said of it
    assert not [each for each in events if each["event"] == "fault"]
