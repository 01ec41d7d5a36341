"""Keepalive probes that pass end to end: the app is answered when the server has answered."""

from __future__ import annotations

import pytest

from relay.events import Side
from relay.testing import MemoryLeg
from support.memory_driver import End, MemoryDriver, forward


def connect(nat: MemoryDriver) -> tuple[End, End]:
    app = nat.call(forward())
    server = nat.answer()
    app.leg.set_keepalive(1, 1, 3)
    return app, server


def test_each_probe_of_the_apps_is_one_to_the_server_and_its_answer_comes_back() -> None:
    nat = MemoryDriver()
    app, server = connect(nat)
    nat.advance(60.5)
    assert not app.leg.find_broken()
    assert 50 < server.leg.probes_seen <= 61
    told = nat.told("keepalive-probe", "probe-sent", "probe-answered")
    assert told == ["keepalive-probe", "probe-sent", "probe-answered"] * server.leg.probes_seen
    first = {record.event: dict(record.fields) for record in reversed(nat.records)}
    assert first["keepalive-probe"] == {"side": "internal"}
    assert first["probe-sent"] == {"side": "external", "because": "local-keepalive"}
    assert first["probe-answered"] == {"side": "external"}


def test_a_dead_server_is_found_by_the_app_alone() -> None:
    nat = MemoryDriver()
    app, server = connect(nat)
    server.leg.blackhole(True)
    nat.advance(3.9)
    assert not app.leg.find_broken()
    assert nat.told("keepalive-probe", "probe-sent", "probe-answered") == ["keepalive-probe", "probe-sent"] * 3
    nat.advance(0.2)
    assert app.leg.find_broken()
    assert app.leg.timed_out
    assert nat.told("timed-out") == []


def test_a_server_that_is_back_in_time_is_as_if_it_had_never_been_away() -> None:
    nat = MemoryDriver()
    app, server = connect(nat)
    server.leg.blackhole(True)
    nat.advance(2.5)
    server.leg.blackhole(False)
    nat.advance(60.0)
    assert not app.leg.find_broken()
    app.says(b"hello")
    nat.settle()
    assert server.hears() == b"hello"


def test_a_frozen_server_is_not_asked() -> None:
    nat = MemoryDriver()
    app, server = connect(nat)
    nat.driver.freeze(Side.EXTERNAL)
    nat.advance(4.1)
    assert app.leg.find_broken()
    assert server.leg.probes_seen == 0


def test_where_answers_are_not_seen_the_app_is_answered_until_the_server_is_found_dead(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(MemoryLeg, "probe", lambda self, answered: False)
    nat = MemoryDriver()
    app, server = connect(nat)
    nat.advance(10.0)
    assert not app.leg.find_broken()
    server.leg.blackhole(True)
    nat.advance(3.5)
    assert nat.fields("timed-out")["side"] == "external"
    nat.advance(4.0)
    assert app.leg.timed_out or app.leg.find_broken()


def test_an_answer_that_comes_when_the_flow_is_over_is_nothing() -> None:
    nat = MemoryDriver()
    connect(nat)
    (flow,) = nat.driver.flows.values()
    flow.give_up("a test")
    flow.on_probe_answered(Side.EXTERNAL)
    assert nat.told("probe-answered") == []
