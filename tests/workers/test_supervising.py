"""The parent of several workers, in a program of one's own: what it hears, and how it gets rid of them."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
from collections import Counter

import anyio
import anyio.to_thread
import pytest

from relay.config import configure
from relay.log import EventLog, Record
from relay.workers import open_workers
from support.clients import crowd
from support.origins import Origin, echo, read_exactly
from support.workers import processes, wait_until_gone

pytestmark = [pytest.mark.system, pytest.mark.anyio]


def exchange(port: int) -> None:
    with socket.create_connection(("127.0.0.1", port), timeout=60) as sock:
        sock.sendall(b"x")
        assert read_exactly(sock, 1) == b"x"


async def test_workers_send_no_records_of_flows_without_a_listener(backend: str) -> None:
    log, records = EventLog(), list[Record]()
    log.subscribe(records.append)
    with Origin(echo) as origin:
        config = configure(listen=None, forwards=[f"0:{origin.target}"])
        async with open_workers(config, log, count=2, backend=backend, tell=False) as workers:
            await anyio.to_thread.run_sync(exchange, workers.forward_addresses[0].port)
            await workers.drain(10)
    told = {record.event for record in records}
    assert told == {"relay-started", "worker-started", "relay-draining", "relay-stopped"}


async def test_workers_share_the_limit_of_flows(backend: str) -> None:
    log, reasons, all_refused = EventLog(), Counter[str](), anyio.Event()

    def note(record: Record) -> None:
        if record.event == "flow-refused":
            reasons[record.fields["reason"].partition(" are open")[0]] += 1
            if reasons.total() == 64 - 5:
                all_refused.set()

    log.subscribe(note)
    config = configure(listen="127.0.0.1:0", max_flows=5, handshake_timeout_s=60)
    async with open_workers(config, log, count=2, backend=backend) as workers:
        assert workers.address is not None
        with crowd(workers.address.port, 64), anyio.fail_after(20):  # they say nothing, and count all the same
            await all_refused.wait()
    assert reasons.keys() == {"3 flows", "2 flows"}
    assert reasons.total() == 64 - 5


async def test_a_worker_that_hangs_is_killed_in_the_end(backend: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("relay.workers.opening._STOP_S", 0.5)
    log, records = EventLog(), list[Record]()
    log.subscribe(records.append)
    with contextlib.ExitStack() as stack, anyio.fail_after(20):
        async with open_workers(configure(listen="127.0.0.1:0"), log, count=2, backend=backend):
            hanging = next(record.fields for record in records if record.event == "worker-started")
            descriptors = stack.enter_context(processes(hanging["pid"]))
            os.kill(hanging["pid"], signal.SIGSTOP)
        wait_until_gone(descriptors)
    died = [record.fields for record in records if record.event == "worker-died"]
    assert died == [{**hanging, "status": "SIGKILL, for it did not stop"}]
    assert records[-1].event == "relay-stopped"
