"""Records come in the order of their times, also where one waits for the name of its process."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator

import pytest

from relay.log import EventLog, Hold, Record
from relay.observe import Process
from relay.testing import RunningRelay, serve_in_thread
from support.origins import Origin, echo, read_exactly


class Lookup:
    """Finds out whose the connections of `slow_port` are once `go_on` is set; the others have no owner, at once."""

    def __init__(self) -> None:
        self.begun, self.go_on = threading.Event(), threading.Event()
        self.slow_port = 0

    def __call__(self, sock: socket.socket) -> Process | None:
        if sock.getpeername()[1] != self.slow_port:
            return None
        self.begun.set()
        self.go_on.wait(20)
        return Process(7, "slow")


@pytest.fixture
def lookup(monkeypatch: pytest.MonkeyPatch) -> Iterator[Lookup]:
    lookup = Lookup()
    monkeypatch.setattr("relay.observe.observers.owner_of", lookup)
    monkeypatch.setattr("relay.observe.observers.Glimpse.owner_of", lambda glimpse, sock: None)
    yield lookup
    lookup.go_on.set()


def exchange_twice(nat: RunningRelay, lookup: Lookup) -> None:
    """Two flows, of which the first one's process is looked up for long."""
    with socket.socket() as first:
        first.bind(("127.0.0.1", 0))
        lookup.slow_port = first.getsockname()[1]
        first.connect(nat.forward_addresses[0])
        exchange(first)
        assert lookup.begun.wait(20)
    with socket.create_connection(nat.forward_addresses[0], timeout=60) as second:
        exchange(second)


def exchange(sock: socket.socket) -> None:
    sock.sendall(b"x")
    assert read_exactly(sock, 1) == b"x"


def test_a_flow_whose_process_takes_long_to_find_is_not_overtaken(
    backend: str, lookup: Lookup, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("relay.driver.driver._OWNER_WITHIN_S", 20.0)
    with Origin(echo) as origin, serve_in_thread(backend=backend, forwards=[f"0:{origin.target}"]) as nat:
        exchange_twice(nat, lookup)
        lookup.go_on.set()
        nat.wait_for("flow-ended", flow=1)
        nat.wait_for("flow-ended", flow=2)
        times_s = [record.at_s for record in nat.events]
        assert times_s == sorted(times_s)
        assert {record.process for record in nat.flows[0].records} == {(7, "slow")}


def test_a_process_that_is_not_found_holds_up_the_log_for_a_moment_only(
    backend: str, lookup: Lookup, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("relay.driver.driver._OWNER_WITHIN_S", 0.1)
    with Origin(echo) as origin, serve_in_thread(backend=backend, forwards=[f"0:{origin.target}"]) as nat:
        exchange_twice(nat, lookup)
        assert nat.wait_for("flow-ended", flow=2, timeout_s=60).process is None
        assert nat.wait_for("flow-ended", flow=1).process is None
        times_s = [record.at_s for record in nat.events]
        assert times_s == sorted(times_s)
        assert not lookup.go_on.is_set()


def test_records_behind_one_that_is_held_wait_for_it() -> None:
    log, told = EventLog(), list[Record]()
    log.subscribe(told.append)
    first, second = Hold(), Hold()
    log.hand_on(log.record("frozen", flow=1, side="internal"), first)
    log.hand_on(log.record("frozen", flow=2, side="internal"), second)
    log.emit("link-down")
    log.hand_on(log.record("thawed", flow=1, side="internal"), first)
    assert told == []
    log.release(second, (2, "b"))
    assert told == []
    log.release(first, (1, "a"))
    assert [(record.flow, record.process) for record in told] == [
        (1, (1, "a")),
        (2, (2, "b")),
        (None, None),
        (1, (1, "a")),
    ]
    log.emit("link-down")
    assert len(told) == 5


def test_what_a_listener_brings_about_comes_after_what_it_heard() -> None:
    log, told = EventLog(), list[str]()

    def answer(record: Record) -> None:
        if record.event == "frozen":
            log.emit("link-down")

    log.subscribe(answer)
    log.subscribe(lambda record: told.append(record.event))
    log.emit("frozen", side="internal")
    assert told == ["frozen", "link-down"]
