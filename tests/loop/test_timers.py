"""Timers: on the heap, against a model; and on a running engine."""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from functools import partial

import anyio
import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay.loop.timers import Timer, Timers
from support.bench import DEADLINE_S, open_engine


def names_due(timers: Timers, now_s: float, called: list[str]) -> list[str]:
    """Call what is due, and return who that was."""
    called.clear()
    for callback in timers.due(now_s):
        callback()
    return list(called)


def test_what_is_due_comes_in_order_and_once() -> None:
    timers, called = Timers(), list[str]()
    for name, due_s in {"b": 2.0, "a": 1.0, "d": 4.0, "c": 3.0}.items():
        timers.add(due_s, partial(called.append, name))
    assert timers.next_due_s == 1.0
    assert names_due(timers, 0.9, called) == []
    assert names_due(timers, 3.0, called) == ["a", "b", "c"]
    assert names_due(timers, 3.0, called) == []
    assert timers.next_due_s == 4.0
    assert names_due(timers, 9.0, called) == ["d"]
    assert timers.next_due_s is None


def test_one_that_is_cancelled_by_another_of_the_same_moment_is_not_called() -> None:
    timers, called = Timers(), list[str]()
    late = timers.add(2.0, partial(called.append, "late"))
    timers.add(1.0, late.cancel)
    assert names_due(timers, 3.0, called) == []
    assert timers.next_due_s is None


def test_timers_of_one_moment_keep_the_order_they_were_started_in() -> None:
    timers, called = Timers(), list[str]()
    for name in "abcdef":
        timers.add(1.0, partial(called.append, name))
    assert names_due(timers, 1.0, called) == list("abcdef")


def test_a_cancelled_timer_is_not_called_and_may_be_cancelled_again() -> None:
    timers, called = Timers(), list[str]()
    kept, cancelled = (timers.add(1.0, partial(called.append, name)) for name in ("kept", "cancelled"))
    cancelled.cancel()
    cancelled.cancel()
    assert names_due(timers, 1.0, called) == ["kept"]
    kept.cancel()
    assert names_due(timers, 1.0, called) == []


def test_a_callback_can_be_taken_once_and_is_not_called_then() -> None:
    timers, called = Timers(), list[str]()
    timer = timers.add(1.0, lambda: called.append("a"))
    assert timer.take() is not None
    assert timer.take() is None
    assert names_due(timers, 1.0, called) == []


def test_cancelled_timers_do_not_pile_up() -> None:
    """A relay cancels nearly every timer it starts, each far from due."""
    timers = Timers()
    kept = timers.add(1e6, lambda: None)
    for number in range(100_000):
        timers.add(1e6 + number, lambda: None).cancel()
    assert len(timers._heap) < 2000
    assert timers.next_due_s == kept.due_s


def test_each_that_is_cancelled_counts_once_until_it_is_gone() -> None:
    timers = Timers()
    for timer in [timers.add(due_s, lambda: None) for due_s in range(100)][:60]:
        timer.cancel()
        timer.cancel()
    assert timers._cancelled == 60
    assert len(list(timers.due(49))) == 0
    assert timers._cancelled == 10
    assert len(list(timers.due(99))) == 40
    assert timers._cancelled == 0


def test_what_is_left_when_most_are_cancelled_still_comes_in_order() -> None:
    timers, called = Timers(), list[int]()
    moments = random.Random(1).sample(range(4000), 2000)  # noqa: S311 - the same each time
    started = [timers.add(due_s, partial(called.append, due_s)) for due_s in moments]
    for timer in started[:1500]:
        timer.cancel()
    assert len(timers._heap) < 1000, "those that were cancelled went from the heap"
    for callback in timers.due(4000):
        callback()
    assert called == sorted(moments[1500:])


@given(st.lists(st.tuples(st.sampled_from(["add", "cancel", "take", "due"]), st.integers(0, 30))))
def test_any_sequence_agrees_with_a_plain_list(operations: list[tuple[str, int]]) -> None:
    timers, called = Timers(), list[int]()
    model: list[tuple[int, int]] = []  # when due, and number
    handles: list[Timer] = []
    now_s = 0
    for operation, value in operations:
        if operation == "add":
            number = len(handles)
            handles.append(timers.add(now_s + value, partial(called.append, number)))
            model.append((now_s + value, number))
        elif operation == "due":
            now_s += value
            expected = sorted(entry for entry in model if entry[0] <= now_s)
            model = [entry for entry in model if entry[0] > now_s]
            called.clear()
            for callback in timers.due(now_s):
                callback()
            assert called == [number for _, number in expected]
        elif handles:
            number = value % len(handles)
            pending = any(entry[1] == number for entry in model)
            if operation == "cancel":
                handles[number].cancel()
            else:
                assert (handles[number].take() is not None) is pending
            model = [entry for entry in model if entry[1] != number]


# On an engine


class Calls:
    """Notes which callbacks were called, and when."""

    def __init__(self) -> None:
        self.names: list[str] = []
        self.at_s: list[float] = []
        self._changed = anyio.Event()

    def note(self, name: str) -> Callable[[], None]:
        def call() -> None:
            self.names.append(name)
            self.at_s.append(time.monotonic())
            self._changed.set()
            self._changed = anyio.Event()

        return call

    async def until(self, *names: str) -> None:
        with anyio.fail_after(DEADLINE_S):
            while not set(names) <= set(self.names):
                await self._changed.wait()


@pytest.mark.anyio
async def test_an_engine_calls_at_the_time_and_not_before(readiness: str) -> None:
    calls = Calls()
    async with open_engine() as (engine, _):
        began_s = time.monotonic()
        engine.call_later(0.05, calls.note("a"))
        await calls.until("a")
    assert 0.05 <= calls.at_s[0] - began_s < 10


@pytest.mark.anyio
async def test_a_sooner_timer_started_later_is_not_kept_waiting() -> None:
    calls = Calls()
    async with open_engine() as (engine, _):
        engine.call_later(3600, calls.note("late"))
        engine.call_later(0.01, calls.note("first"))
        await calls.until("first")
        await anyio.lowlevel.checkpoint()  # the engine waits for the late one now
        engine.call_later(0.01, calls.note("soon"))
        await calls.until("soon")
    assert calls.names == ["first", "soon"]


@pytest.mark.anyio
async def test_a_callback_may_start_and_cancel_timers() -> None:
    calls = Calls()
    async with open_engine() as (engine, _):
        doomed = engine.call_later(0.03, calls.note("doomed"))

        def first() -> None:
            doomed.cancel()
            engine.call_later(0.05, calls.note("second"))

        engine.call_later(0.01, first)
        await calls.until("second")
    assert calls.names == ["second"]


def fail() -> None:
    raise ValueError("by itself")


@pytest.mark.anyio
async def test_a_callback_that_raises_ends_no_other() -> None:
    calls = Calls()
    async with open_engine() as (engine, faults):
        engine.call_later(0.01, fail)
        engine.call_soon(fail)
        engine.call_soon(calls.note("soon"))
        engine.call_later(0.02, calls.note("later"))
        await calls.until("soon", "later")
    assert [str(fault) for fault in faults] == ["by itself"] * 2


@pytest.mark.anyio
async def test_deferred_calls_come_in_order_and_do_not_keep_timers_from_their_turn() -> None:
    calls = Calls()
    async with open_engine() as (engine, _):

        def again() -> None:
            if "timer" not in calls.names:
                engine.call_soon(again)

        for name in ("a", "b", "c"):
            engine.call_soon(calls.note(name))
        engine.call_soon(again)
        engine.call_later(0.02, calls.note("timer"))
        await calls.until("timer")
    assert calls.names == ["a", "b", "c", "timer"]
