"""The one log of several workers: in the order of its times, as far as records arrive within a moment."""

from __future__ import annotations

import socket

import anyio
import anyio.to_thread
import pytest

from relay.config import configure
from relay.log import EventLog, Record
from relay.workers import open_workers
from relay.workers.merging import MergedLog
from support.origins import Origin, echo, read_exactly

pytestmark = [pytest.mark.anyio, pytest.mark.system]

_CALLS = 40


def exchange(port: int) -> None:
    for _ in range(_CALLS):
        with socket.create_connection(("127.0.0.1", port), timeout=60) as sock:
            sock.sendall(b"x")
            assert read_exactly(sock, 1) == b"x"


async def test_the_records_of_all_workers_are_merged_by_their_times(
    backend: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("relay.workers.merging.WINDOW_S", 3.0, raising=False)  # a loaded host is to have time enough
    log, records = EventLog(), list[Record]()
    log.subscribe(records.append)
    with Origin(echo) as origin:
        config = configure(listen=None, forwards=[f"0:{origin.target}"])
        async with open_workers(config, log, count=2, backend=backend) as workers:
            port = workers.forward_addresses[0].port
            async with anyio.create_task_group() as clients:
                for _ in range(4):
                    clients.start_soon(anyio.to_thread.run_sync, exchange, port)
            workers.link_down()
            await workers.drain(10)
    assert {record.flow % 2 for record in records if record.flow is not None} == {0, 1}, "both workers served"
    assert len([record for record in records if record.event == "flow-ended"]) == 4 * _CALLS
    times_s = [record.at_s for record in records]
    assert times_s == sorted(times_s)
    assert [records[0].event, records[-1].event] == ["relay-started", "relay-stopped"]


async def test_how_long_a_record_is_held_does_not_follow_the_nats_clock() -> None:
    log, told = EventLog(), anyio.Event()
    log.subscribe(lambda record: told.set())
    log.clock.scale = 1e-3
    merged = MergedLog(log)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(merged.run)
        merged.emit("link-down")
        with anyio.fail_after(20):
            await told.wait()
        tasks.cancel_scope.cancel()


async def test_a_record_waits_a_tenth_of_a_second_for_earlier_ones(monkeypatch: pytest.MonkeyPatch) -> None:
    now_s, log, written = 100.0, EventLog(), list[str]()
    log.subscribe(lambda record: written.append(record.event))
    monkeypatch.setattr("relay.workers.merging.real_s", lambda: now_s)
    merged = MergedLog(log)
    merged.put(Record("frozen", 2.0, None, None, {}))
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(merged.run)
        now_s += 0.09
        await anyio.sleep(0.05)
        assert written == []
        merged.put(Record("thawed", 1.0, None, None, {}))
        now_s += 0.2
        with anyio.fail_after(20):
            while len(written) < 2:  # noqa: ASYNC110 - it looks at a clock of the test's
                await anyio.sleep(0.01)
        tasks.cancel_scope.cancel()
    assert written == ["thawed", "frozen"]
