"""Workers whose parent is stopped serve on; those whose parent is killed are gone at once, whatever they do."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from support.clients import connect_by_port
from support.origins import Origin, echo
from support.packages import install_behaviour
from support.programs import RELAY, clean_environment, serve
from support.workers import call_both_workers, pids_of, processes, wait_until_gone

pytestmark = pytest.mark.system

CALLERS = 20_000 if os.environ.get("RELAY_SOAK") else 1_000
RECORDS = 3 * CALLERS
"""Each one's handshake fails, it gets a FIN, and its flow ends."""

_SLEEPY = '''
import os
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from relay.behaviours import Actions, Behaviour
from relay.events import ConnectRequested


@dataclass
class Sleepy(Behaviour):
    """Stops the event loop."""

    def on_connect_requested(self, event: ConnectRequested) -> Actions:
        if event.destination.port == 9:
            Path(os.environ["SLEEPERS"], str(os.getpid())).touch()
            time.sleep(60)
        return ()
'''

_FORKING_PARENT = """
import os, sys, time, anyio
from relay.config import configure
from relay.log import EventLog
from relay.workers import open_workers

async def main():
    log = EventLog()
    log.subscribe(lambda record: record.event == "worker-started" and print(record.fields["pid"], flush=True))
    async with open_workers(configure(listen="127.0.0.1:0"), log, count=2, backend=sys.argv[1]) as workers:
        child = os.fork()
        if child == 0:
            time.sleep(60)
            os._exit(0)
        print(child, workers.address.port, flush=True)
        await anyio.sleep_forever()

anyio.run(main, backend=sys.argv[1])
"""


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
            deadline_s = time.monotonic() + 60
            while (told := records_of_callers(served.events())) < RECORDS:
                assert time.monotonic() < deadline_s, f"{told} of {RECORDS}"
                time.sleep(0.05)  # a file cannot be waited on
            for each in calls.values():
                each.exchange()
        served.wait_for_count("flow-ended", served.count("flow-opened"))
    assert records_of_callers(served.events()) == RECORDS
    assert (served.count("records-dropped") > 0) == (CALLERS > 12_000)
    assert served.events()[-1]["event"] == "relay-stopped"


def records_of_callers(events: list[dict[str, Any]]) -> int:
    """How many records of callers that said nothing a log has, or knows that it misses."""
    calls = {event["flow"] for event in events if event["event"] == "flow-opened"}
    missing: int = sum(event["records"] for event in events if event["event"] == "records-dropped")
    return missing + sum(event["flow"] is not None and event["flow"] not in calls for event in events)


def test_a_worker_whose_event_loop_hangs_is_gone_with_its_parent(backend: str, tmp_path: Path) -> None:
    sleepers = tmp_path / "sleepers"
    sleepers.mkdir()
    packages = install_behaviour(tmp_path / "packages", "sleepy", _SLEEPY)
    options = ("--backend", backend, "--workers", "2", "--forward", "0:127.0.0.1:9", "--set", "sleepy.enabled=true")
    with serve(tmp_path, *options, exit_code=-9, PYTHONPATH=packages, SLEEPERS=str(sleepers)) as served:
        with processes(*pids_of(served).values()) as workers, contextlib.ExitStack() as callers:
            deadline_s = time.monotonic() + 60
            while len(list(sleepers.iterdir())) < 2:
                assert time.monotonic() < deadline_s
                callers.enter_context(socket.create_connection(("127.0.0.1", served.ports[1])))
                time.sleep(0.02)  # a file cannot be waited on
            served.process.kill()
            wait_until_gone(workers)
        with pytest.raises(ConnectionRefusedError):
            connect_by_port(served.port, "127.0.0.1", 9)


def test_workers_are_gone_with_their_parent_though_another_child_of_its_has_its_end_of_the_channels(
    backend: str,
) -> None:
    command = [sys.executable, "-c", _FORKING_PARENT, backend]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        first, second, (child, port) = (parent.stdout.readline().split() for _ in range(3))
        try:
            with processes(int(first[0]), int(second[0])) as workers:
                parent.kill()
                wait_until_gone(workers)
        finally:
            parent.kill()
            os.kill(int(child), signal.SIGKILL)
    with pytest.raises(ConnectionRefusedError):
        connect_by_port(int(port), "127.0.0.1", 9)


def test_workers_whose_parent_is_killed_while_they_start_say_nothing(backend: str, tmp_path: Path) -> None:
    command = [*RELAY, "serve", "--listen", "127.0.0.1:0", "--backend", backend, "--workers", "2"]
    with (tmp_path / "stderr").open("w") as stderr:
        parent = subprocess.Popen(command, stderr=stderr, env=clean_environment())
        children = Path(f"/proc/{parent.pid}/task/{parent.pid}/children")
        deadline_s = time.monotonic() + 60
        while len(pids := children.read_text().split()) < 2:
            assert time.monotonic() < deadline_s
            time.sleep(0.01)  # no event reports that a process is there
        with processes(*map(int, pids)) as workers:
            parent.kill()
            parent.wait()
            wait_until_gone(workers)
    assert (tmp_path / "stderr").read_text() == ""
