"""Workers whose parent is stopped serve on; those whose parent is killed are gone at once, whatever they do."""

from __future__ import annotations

import os
import signal
import socket
import time
from pathlib import Path
from typing import Any

import pytest

from support.origins import Origin, echo
from support.programs import serve
from support.workers import call_both_workers

CALLERS = 20_000 if os.environ.get("RELAY_SOAK") else 1_000


@pytest.mark.soak
def test_behind_a_stopped_parent_flows_go_on_and_the_log_says_what_it_misses(backend: str, tmp_path: Path) -> None:
    with Origin(echo) as origin, serve(tmp_path, "--backend", backend, "--workers", "2") as served:
        with call_both_workers(served, origin.port) as calls:
            os.kill(served.process.pid, signal.SIGSTOP)
            try:
                for number in range(CALLERS):
                    with socket.create_connection(("127.0.0.1", served.port), timeout=20):
                        pass  # it says nothing, and that is a record
                    if number % 100 == 0:
                        for each in calls.values():
                            each.exchange()
            finally:
                os.kill(served.process.pid, signal.SIGCONT)
            deadline_s = time.monotonic() + 20
            while (told := told_of(served.events())) < CALLERS:
                assert time.monotonic() < deadline_s, f"{told} of {CALLERS}"
                time.sleep(0.05)  # a file cannot be waited on
            for each in calls.values():
                each.exchange()
        served.wait_for_count("flow-ended", served.count("flow-opened"))
    assert told_of(served.events()) == CALLERS
    assert (served.count("records-dropped") > 0) == (CALLERS > 12_000)
    assert served.events()[-1]["event"] == "relay-stopped"


def told_of(events: list[dict[str, Any]]) -> int:
    """Of how many callers that said nothing a log knows."""
    return sum(
        event["records"] if event["event"] == "records-dropped" else event["event"] == "handshake-failed"
        for event in events
    )
