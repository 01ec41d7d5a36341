"""When a flow counts as idle: the watches of `WatchIdle`, on legs and a clock in memory."""

from __future__ import annotations

import pytest

from relay.actions import WatchIdle
from relay.events import Side
from relay.profiles import add_behaviours, load_profile
from support.memory_driver import End, MemoryDriver, forward
from support.watching import WATCH, Watching, notes


def open_flow(watch: WatchIdle = WATCH) -> tuple[MemoryDriver, End, End]:
    nat = MemoryDriver()
    nat.driver.profile = add_behaviours(load_profile("transparent"), [Watching(watch)])
    app = nat.call(forward())
    return nat, app, nat.answer()


def test_a_watch_ends_once_to_the_moment_after_the_last_byte_of_either_side() -> None:
    nat, app, server = open_flow()
    nat.advance(6)
    app.says(b"x")
    nat.advance(6)
    server.hears()
    server.says(b"y")
    nat.advance(9)
    app.hears()
    assert notes(nat) == []
    nat.advance(100)
    assert notes(nat) == ["quiet since 12, at 22"]


@pytest.mark.parametrize(("of", "idle"), [(Side.INTERNAL, True), (Side.EXTERNAL, False), (None, False)])
def test_of_one_side_the_others_bytes_do_not_count(of: Side | None, idle: bool) -> None:
    nat, app, server = open_flow(WatchIdle("quiet", 10.0, of=of))
    nat.advance(6)
    server.says(b"y")
    nat.settle()
    app.hears()
    nat.advance(6)
    assert bool(notes(nat)) is idle


@pytest.mark.parametrize("prober", ["app", "server"])
@pytest.mark.parametrize(("counts", "idle"), [("data", True), ("segments", False)])
def test_a_keepalive_probe_of_either_side_is_a_segment_and_no_data(counts: str, idle: bool, prober: str) -> None:
    nat, app, server = open_flow(WatchIdle("quiet", 10.0, counts))  # type: ignore[arg-type]
    (app if prober == "app" else server).leg.set_keepalive(4, 4, 3)
    nat.advance(30)
    assert bool(notes(nat)) is idle


@pytest.mark.parametrize("counts", ["data", "segments"])
def test_bytes_that_a_slow_reader_takes_are_traffic(counts: str) -> None:
    nat, app, server = open_flow(WatchIdle("quiet", 10.0, counts))  # type: ignore[arg-type]
    app.leg.limit_window(1000)
    server.says(bytes(200_000))
    for _ in range(8):
        nat.advance(6)
        app.leg.receive_into(memoryview(bytearray(1000)))
        nat.settle()
    assert notes(nat) == []


def test_early_data_that_the_server_does_not_take_is_sent_again_and_so_keeps_the_flow(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("relay.testing._memory_leg.WINDOW_BYTES", 1000)
    nat = MemoryDriver()
    nat.driver.profile = add_behaviours(load_profile("transparent"), [Watching(WatchIdle("quiet", 10.0, "segments"))])
    app = nat.call(forward())
    app.says(bytes(5000))
    nat.settle()
    nat.answer()
    nat.advance(30)
    assert notes(nat) == []


def test_bytes_that_never_move_are_no_data() -> None:
    nat, app, server = open_flow()
    app.leg.limit_window(1000)
    server.says(bytes(200_000))
    nat.advance(30)
    assert len(notes(nat)) == 1


def test_after_the_relay_has_stood_still_a_watch_goes_on_for_as_long_as_it_was_late() -> None:
    nat, _, _ = open_flow()
    nat.loop.stand_still(14)
    nat.advance(3.5)
    assert notes(nat) == []
    nat.advance(1)
    assert notes(nat) == ["quiet since 8, at 18"]


def test_a_nat_that_sweeps_finds_it_at_its_next_sweep() -> None:
    nat, app, _ = open_flow(WatchIdle("quiet", 10.0, sweep_s=8.0))
    nat.advance(3)
    app.says(b"x")
    nat.advance(100)
    assert notes(nat) == ["quiet since 3, at 16"]


def test_a_flow_that_is_over_is_held_by_nothing_that_has_watched_it() -> None:
    nat, _, _ = open_flow()
    (flow,) = nat.driver.flows.values()
    watchers = ("idleness", "saw_data")
    assert None not in [getattr(flow, name) for name in watchers]
    nat.driver.end_all("relay-stopped")
    assert [getattr(flow, name) for name in watchers] == [None, None]


def test_a_flow_that_no_behaviour_watches_keeps_nothing() -> None:
    nat = MemoryDriver()
    nat.call(forward())
    nat.answer()
    (flow,) = nat.driver.flows.values()
    assert flow.idleness is None
    assert not flow.has_timers
