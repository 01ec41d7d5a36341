"""A NAT's timers: by a clock that can be moved and hastened, on a loop that has another."""

from __future__ import annotations

import pytest

from relay.clock import NatClock
from relay.loop.nat_time import NatTime
from relay.testing import MemoryLoop


class Nat:
    """A NAT's time on a loop whose real clock is the test's, and what has fired by its clock."""

    def __init__(self) -> None:
        self.loop = MemoryLoop()
        self.faults: list[Exception] = []
        self.time = NatTime(NatClock(self.loop.now_s), self.loop, self.faults.append)
        self.fired: list[tuple[str, float]] = []

    def start(self, name: str, after_s: float) -> None:
        self.time.call_later(after_s, lambda: self.fired.append((name, self.time.now_s())))

    def advance(self, seconds: float) -> None:
        self.loop.settle()
        for _, callback in self.time.due_within(seconds):
            self.loop.call_soon(callback)
            self.loop.settle()


def test_timers_fire_in_order_as_real_time_passes() -> None:
    nat = Nat()
    nat.start("b", 20)
    nat.start("a", 10)
    nat.loop.advance(9)
    assert nat.fired == []
    nat.loop.advance(11)
    assert nat.fired == [("a", 10), ("b", 20)]


def test_advancing_fires_each_at_its_own_moment_and_leaves_the_real_clock() -> None:
    nat = Nat()
    nat.loop.advance(100)
    for name, after_s in {"c": 30, "a": 10, "b": 20, "d": 31}.items():
        nat.start(name, after_s)
    nat.advance(30)
    assert nat.fired == [("a", 110), ("b", 120), ("c", 130)]
    assert (nat.loop.now_s(), nat.time.now_s()) == (100, 130)
    nat.loop.advance(1)
    assert nat.fired[3:] == [("d", 131)]


def test_what_a_timer_puts_off_and_starts_comes_before_the_next_one() -> None:
    nat = Nat()

    def first() -> None:
        nat.fired.append(("first", nat.time.now_s()))
        nat.start("started by it", 5)
        nat.loop.call_soon(lambda: nat.fired.append(("put off by it", nat.time.now_s())))

    nat.time.call_later(10, first)
    nat.start("next", 20)
    nat.loop.call_soon(lambda: nat.fired.append(("before", nat.time.now_s())))
    nat.advance(20)
    assert nat.fired == [("before", 0), ("first", 10), ("put off by it", 10), ("started by it", 15), ("next", 20)]


def test_real_time_that_passes_meanwhile_fires_no_timer_out_of_turn_and_counts_when_it_is_over() -> None:
    nat = Nat()
    for name in ("a", "b"):
        nat.start(name, 10)
    nat.start("c", 25)
    for moved_s, callback in nat.time.due_within(10):
        callback()
        nat.loop.advance(10)
        nat.fired.append((f"moved by {moved_s:g}", nat.time.now_s()))
    assert nat.fired == [("a", 10), ("moved by 10", 10), ("b", 10), ("moved by 10", 10)]
    assert nat.time.now_s() == 30
    nat.loop.advance(0)
    assert nat.fired[4:] == [("c", 30)]


def test_what_is_left_of_an_advance_that_is_broken_off_fires_as_time_passes() -> None:
    nat = Nat()
    for name, after_s in {"a": 10, "b": 20}.items():
        nat.start(name, after_s)
    due = nat.time.due_within(300)
    next(due)[1]()
    due.close()
    assert nat.time.now_s() == 10
    nat.loop.advance(9)
    assert nat.fired == [("a", 10)]
    nat.loop.advance(1)
    assert nat.fired == [("a", 10), ("b", 20)]


def test_one_clock_is_not_moved_on_twice_at_once() -> None:
    nat = Nat()
    nat.start("a", 10)
    nat.start("b", 20)
    for _, callback in nat.time.due_within(30):
        callback()
        nat.time.scale = 2  # which is no reason to run a timer, either
        nat.loop.settle()
        with pytest.raises(RuntimeError, match="moved on already"):
            next(nat.time.due_within(1))
    assert nat.fired == [("a", 10), ("b", 20)]


def test_a_timer_that_another_cancels_does_not_fire() -> None:
    nat = Nat()
    timer = nat.time.call_later(20, lambda: nat.fired.append(("cancelled", 0)))
    nat.time.call_later(10, timer.cancel)
    nat.start("late", 40)
    nat.advance(30)
    nat.loop.advance(10)
    assert nat.fired == [("late", 40)]


def test_a_callback_that_raises_ends_no_other() -> None:
    nat = Nat()

    def fail() -> None:
        raise ValueError("by itself")

    for after_s in (1, 3):
        nat.time.call_later(after_s, fail)
        nat.start("after", after_s + 1)
    nat.advance(2)
    nat.loop.advance(2)
    assert [str(fault) for fault in nat.faults] == ["by itself"] * 2
    assert nat.fired == [("after", 2), ("after", 4)]


def test_a_faster_clock_goes_on_from_where_it_was_and_takes_running_timers_along() -> None:
    nat = Nat()
    nat.start("a", 30)
    nat.loop.advance(10)
    nat.time.scale = 10
    assert nat.time.now_s() == 10
    nat.loop.advance(1.5)
    assert nat.fired == []
    nat.loop.advance(0.5)
    assert nat.fired == [("a", 30)]
    nat.start("b", 100)
    nat.time.scale = 0.5
    nat.loop.advance(199)
    assert nat.fired[1:] == []
    nat.loop.advance(1)
    assert nat.fired[1:] == [("b", 130)]


def test_a_sooner_timer_that_is_started_later_is_not_kept_waiting() -> None:
    nat = Nat()
    nat.start("late", 3600)
    nat.loop.advance(1)
    nat.start("soon", 1)
    nat.loop.advance(1)
    assert nat.fired == [("soon", 2)]


def test_on_a_clock_that_stands_still_time_alone_fires_nothing() -> None:
    loop = MemoryLoop()
    clock = NatClock(loop.now_s)
    clock.stop()
    nat = Nat()
    nat.loop, nat.time = loop, NatTime(clock, loop, nat.faults.append)
    nat.start("at once", 0)
    nat.start("later", 10)
    loop.advance(100)
    assert nat.fired == [("at once", 0)]
    nat.time.scale = 5
    loop.advance(100)
    nat.advance(9)
    assert nat.fired[1:] == []
    nat.advance(1)
    assert nat.fired[1:] == [("later", 10)]
    assert nat.time.now_s() == 10
