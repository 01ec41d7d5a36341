"""The event log: every event that can happen is driven once, and carries just the fields that are documented."""

from __future__ import annotations

import io
import json
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from relay.events import Side
from relay.log import COMMON_FIELDS, FIELDS, Cause, EventLog, How, Record
from relay.log.reading import RecordReader
from relay.profiles import load_profile
from relay.testing import serve_in_thread
from support import log_reference
from support.capabilities import missing
from support.every_event import (
    drive_a_fault,
    drive_a_guest_that_asks,
    drive_a_late_action,
    drive_a_nat,
    drive_a_reader_too_hard,
    drive_a_worker_to_its_death,
    drive_an_end,
    drive_beyond_limits,
    drive_datagrams_and_binds,
    drive_into_want,
    drive_past_a_syn,
    drive_the_control,
    drive_to_oblivion,
    drive_without_pings,
    exchange,
)
from support.origins import Origin, echo

_LINUX_ONLY = {
    *("tos-changed", "syn-unknown", "keepalive-probe", "note", "timed-out", "blackholed", "bytes-lost"),
    *("accept-paused", "accept-resumed", "dial-abandoned", "initiator-vanished"),
    *("worker-started", "worker-died", "records-dropped", "keepalive-presumed"),
}
"""What takes a provider of Linux, or a way of Linux to bring it about."""


def is_worded(ended: dict[str, Any]) -> bool:
    """Whether the record of a flow's end has the documented words alone."""
    causes = {*Cause, *(quirk.name for quirk in load_profile("vmware-fusion").quirks), "fault:gambler"}
    causes |= {"idle-timeout", "flow-limit"}
    sides = [side.value for side in Side if ended[side.value] is not None]
    return (
        sides != []
        and ended["because"] in causes
        and {ended[side] for side in sides} <= set(How)
        and {ended[f"{side}_because"] for side in sides} <= causes
    )


@pytest.mark.system
def test_every_event_carries_exactly_the_documented_fields(
    backend: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    drives = (
        *(drive_a_nat, drive_the_control, drive_past_a_syn, drive_a_fault, drive_a_late_action, drive_an_end),
        drive_to_oblivion,
        drive_beyond_limits,
        drive_without_pings,
        drive_a_guest_that_asks,
    )
    records = [record for drive in drives for record in drive(backend)]
    records += drive_datagrams_and_binds(backend, monkeypatch)
    lines: list[dict[str, Any]] = [json.loads(record.as_json(started_at=0.0)) for record in records]
    if sys.platform == "linux":
        lines += drive_into_want(backend, tmp_path)
        (tmp_path / "workers").mkdir()
        lines += drive_a_worker_to_its_death(backend, tmp_path / "workers")
        lines += drive_a_reader_too_hard()
    assert [line for line in lines if line.keys() != COMMON_FIELDS.keys() | FIELDS[line["event"]].keys()] == []
    reader = RecordReader(io.BytesIO("".join(f"{json.dumps(line)}\n" for line in lines).encode()))
    assert ([record.event for record in reader], reader.problems) == ([line["event"] for line in lines], [])
    assert {line["side"] for line in lines if "side" in line} == {side.value for side in Side}
    assert [line for line in lines if line["event"] == "flow-ended" and not is_worded(line)] == []
    unseen = FIELDS.keys() - {line["event"] for line in lines}
    if unseen and unseen <= _LINUX_ONLY:
        missing(f"this host shows everything but {', '.join(sorted(unseen))}")
    assert unseen == set()


@pytest.mark.system
def test_every_record_of_a_flow_names_the_process_of_the_app(backend: str) -> None:
    if sys.platform != "linux":
        missing("processes are found by sock_diag")
    script = (
        "import socket, sys\n"
        "s = socket.create_connection(('127.0.0.1', int(sys.argv[1])))\n"
        "s.sendall(b'x'); s.recv(1); print('ready', flush=True); sys.stdin.read()\n"
    )
    with Origin(echo) as origin, serve_in_thread(backend=backend, forwards=[f"0:{origin.target}"]) as nat:
        command = [sys.executable, "-c", script, str(nat.forward_addresses[0].port)]
        with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as app:
            assert app.stdout is not None
            assert app.stdout.readline() == b"ready\n"
            name = Path(f"/proc/{app.pid}/comm").read_text().rstrip("\n")
            nat.wait_for("flow-opened")  # it is known by then
            app.communicate(timeout=60)
        nat.wait_for("flow-ended")
        of_flow = [record for record in nat.events if record.flow == 1]
        assert {record.process for record in of_flow} == {(app.pid, name)}
        assert json.loads(of_flow[0].as_json(0.0))["process"] == {"pid": app.pid, "name": name}


@pytest.mark.system
def test_of_an_inbound_flow_the_app_is_the_process_that_was_dialled(backend: str) -> None:
    if sys.platform != "linux":
        missing("processes are found by sock_diag")
    script = (
        "import socket, sys\n"
        "l = socket.create_server(('127.0.0.1', 0)); print(l.getsockname()[1], flush=True)\n"
        "c, _ = l.accept(); c.sendall(c.recv(1)); sys.stdin.read()\n"
    )
    with subprocess.Popen([sys.executable, "-c", script], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as app:
        assert app.stdout is not None
        port = int(app.stdout.readline())
        with serve_in_thread(backend=backend, inbound=[f"0:127.0.0.1:{port}"]) as nat:
            with socket.create_connection(("127.0.0.1", nat.inbound_addresses[0].port), timeout=60) as sock:
                exchange(sock)
                sock.shutdown(socket.SHUT_WR)
                process = nat.wait_for("fin-received", side="external").process
            app.communicate(timeout=60)
    assert process is not None
    assert process[0] == app.pid


def test_the_page_has_the_reference_of_the_event_log() -> None:
    assert log_reference.written() == log_reference.reference()


def test_a_field_that_is_not_documented_does_not_get_out() -> None:
    log = EventLog()
    log.subscribe(lambda record: None)
    with pytest.raises(KeyError, match="link-down has no field colour"):
        log.emit("link-down", colour="red")


def test_a_listener_that_another_one_ends_does_not_hear_the_record_that_made_it_end() -> None:
    log, heard = EventLog(), list[str]()
    log.subscribe(lambda record: end())
    end = log.subscribe(lambda record: heard.append(record.event))
    log.emit("link-down")
    end()  # again: harmless
    log.emit("link-down")
    assert (heard, log.wanted) == ([], True)


def test_a_listener_that_raises_is_dropped_and_the_others_hear() -> None:
    log = EventLog()
    told: list[Record] = []

    def broken(record: Record) -> None:
        raise OSError(28, "No space left on device")

    log.subscribe(broken)
    log.subscribe(told.append)
    log.emit("link-down")
    log.emit("initiator-vanished")
    assert [record.event for record in told] == ["link-down", "fault", "initiator-vanished"]
    assert "No space left on device" in told[1].fields["error"]
    assert "in broken" in told[1].fields["traceback"]


def test_listeners_that_fail_together_are_dropped_together() -> None:
    log = EventLog()
    told: list[str] = []
    calls: list[str] = []

    def broken(name: str) -> Callable[[Record], None]:
        def listener(record: Record) -> None:
            calls.append(name)
            raise OSError(28, "No space left on device")

        return listener

    log.subscribe(broken("first"))
    log.subscribe(broken("second"))
    log.subscribe(lambda record: told.append(record.event))
    log.emit("link-down")
    log.emit("initiator-vanished")
    assert calls == ["first", "second"]
    assert told == ["link-down", "fault", "fault", "initiator-vanished"]


def test_logs_of_one_clock_tell_comparable_times() -> None:
    first = EventLog()
    second = EventLog(first.clock)
    told: list[float] = []
    for log in (first, second):
        log.subscribe(lambda record: told.append(record.at_s))
    for log in (first, second, first):
        log.emit("link-down")
    assert second.clock == first.clock
    assert told == sorted(told)


def test_json_tells_the_time_in_utc_and_since_the_start() -> None:
    first = Record("fin-received", 1.25, 7, (42, "ssh"), {"side": "internal"}).as_json(time.time())
    second = Record("link-down", 0.0000014, None, None, {}).as_json(0.0)
    assert json.loads(first) | {"at": ""} == {
        "at": "",
        "at_s": 1.25,
        "event": "fin-received",
        "flow": 7,
        "process": {"pid": 42, "name": "ssh"},
        "carried": [0, 0],
        "side": "internal",
    }
    assert json.loads(second) == {
        "at": "1970-01-01T00:00:00.000+00:00",
        "at_s": 0.000001,
        "event": "link-down",
        "flow": None,
        "process": None,
        "carried": None,
    }
