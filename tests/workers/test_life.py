"""How several workers live and end: told by their parent alone, never without it, and not all for one."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

import pytest

from support.clients import connect_by_port
from support.origins import Origin, echo
from support.programs import ServedRelay, serve
from support.workers import call_both_workers, pids_of, processes, wait_until_gone

pytestmark = pytest.mark.system


def kill(served: ServedRelay, pid: int, number: int = signal.SIGKILL, status: str = "SIGKILL") -> None:
    """Kill the first worker, as a host without memory does, and have its parent say so."""
    os.kill(pid, number)
    died = served.wait_for("worker-died", pid=pid)
    assert (died["worker"], died["status"]) == (1, status)


def wait_for_replacement(served: ServedRelay, deaths: int) -> None:
    served.wait_for_count("worker-started", 2 + deaths)


def test_ctrl_c_lets_flows_of_every_worker_finish_while_no_other_is_accepted(backend: str, tmp_path: Path) -> None:
    with (
        Origin(echo) as origin,
        serve(tmp_path, "--backend", backend, "--workers", "2", "--drain-timeout", "600", prefix=["setsid"]) as served,
    ):
        with call_both_workers(served, origin.port) as calls:
            os.killpg(served.process.pid, signal.SIGINT)  # as a terminal does
            flows = served.wait_for("relay-draining")["flows"]
            assert flows >= 2
            with pytest.raises(ConnectionRefusedError):
                connect_by_port(served.port, "127.0.0.1", origin.port)
            for each in calls.values():
                each.exchange()
        assert served.process.wait(60) == 0
        ended = [event["because"] for event in served.events() if event["event"] == "flow-ended"]
        assert ended == ["internal-peer"] * flows
        assert served.events()[-1]["event"] == "relay-stopped"
        assert served.events()[-1]["flows_ended"] == 0


def test_the_link_goes_down_for_every_worker_s_flows_and_a_second_signal_ends_them_at_once(
    backend: str, tmp_path: Path
) -> None:
    options = ("--backend", backend, "--workers", "2", "--drain-timeout", "600")
    with Origin(echo) as origin, serve(tmp_path, *options, prefix=["setsid"]) as served:
        with call_both_workers(served, origin.port) as calls:
            os.killpg(served.process.pid, signal.SIGUSR1)  # as `pkill -USR1 -f relay` does
            for each in calls.values():
                with pytest.raises(ConnectionResetError):
                    each.sock.recv(1)
                assert served.wait_for("flow-ended", flow=each.flow)["because"] == "link-down-reset"
            assert [event["event"] for event in served.events()].count("link-down") == 1
        with call_both_workers(served, origin.port) as calls:
            served.process.send_signal(signal.SIGTERM)
            flows = served.wait_for("relay-draining")["flows"]
            served.process.send_signal(signal.SIGTERM)
            for each in calls.values():
                with pytest.raises(ConnectionResetError):
                    each.sock.recv(1)
            assert served.process.wait(60) == 0
        assert served.wait_for("relay-stopped")["flows_ended"] == flows


def test_the_totals_have_the_flows_of_a_worker_that_died(backend: str, tmp_path: Path) -> None:
    with Origin(echo) as origin, serve(tmp_path, "--backend", backend, "--workers", "2") as served:
        with call_both_workers(served, origin.port) as calls:
            flows = [calls[1].flow, calls[2].flow]
        for flow in flows:
            served.wait_for("flow-ended", flow=flow)
        with call_both_workers(served, origin.port):
            time.sleep(1.2)  # what a worker tells its parent of its totals, each half second, shows nowhere
            kill(served, pids_of(served)[1])
            wait_for_replacement(served, deaths=1)
            records = served.events()
            opened = {record["flow"] for record in records if record["event"] == "flow-opened"}
            ended = {record["flow"] for record in records if record["event"] == "flow-ended"}
            died_with_it = {flow for flow in opened - ended if (flow - 1) % 2 == 0}
            served.process.send_signal(signal.SIGUSR2)
            told = served.wait_for_stderr(f"worker-died {len(died_with_it)}")
            assert f"total: {len(opened)} flows ({len(opened - ended - died_with_it)} open)" in told
    bytes_ended = 11 * (len(opened) - len(died_with_it))
    closing = served.stderr().splitlines()[-1]
    assert closing.startswith(f"total: {len(opened)} flows, {bytes_ended} B out, {bytes_ended} B in; ended by ")
    assert f"worker-died {len(died_with_it)}" in closing


def test_workers_end_when_their_parent_is_killed(backend: str, tmp_path: Path) -> None:
    with Origin(echo) as origin, serve(tmp_path, "--backend", backend, "--workers", "2", exit_code=-9) as served:
        with (
            call_both_workers(served, origin.port) as calls,
            processes(*pids_of(served).values()) as workers,
        ):
            served.process.kill()
            wait_until_gone(workers)
            for each in calls.values():
                with pytest.raises(ConnectionResetError):
                    each.sock.recv(1)
        with pytest.raises(ConnectionRefusedError):
            connect_by_port(served.port, "127.0.0.1", origin.port)


def test_a_worker_that_dies_is_replaced_and_the_others_notice_nothing_until_too_many_have(
    backend: str, tmp_path: Path
) -> None:
    with Origin(echo) as origin, serve(tmp_path, "--backend", backend, "--workers", "2", exit_code=1) as served:
        with call_both_workers(served, origin.port) as calls:
            first = pids_of(served)
            os.kill(first[1], signal.SIGTERM)  # which is its parent's to hear
            calls[1].exchange()
            with processes(first[2]) as survivor:
                kill(served, first[1], 40, "signal 40")  # a real-time signal, which has no name
                assert calls[1].sock.recv(1) == b""
                wait_for_replacement(served, deaths=1)
                calls[2].exchange()
                with call_both_workers(served, origin.port):
                    for deaths in (2, 3):
                        kill(served, pids_of(served)[1])
                        wait_for_replacement(served, deaths=deaths)
                    calls[2].exchange()
                kill(served, pids_of(served)[1])
                assert served.process.wait(60) == 1
                wait_until_gone(survivor)
        flows = [event["flow"] for event in served.events() if event["event"] == "flow-opened"]
        assert len(flows) == len({*flows})
        assert served.events()[-1]["event"] == "relay-stopped"
        assert served.stderr().splitlines()[-2:] == [
            "relay: --workers: 4 of them died within 60 s, the last of SIGKILL",
            "hint: is this host out of memory? without --workers one process serves",
        ]
