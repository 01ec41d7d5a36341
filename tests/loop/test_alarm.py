"""Alarms: each kind rings at the moment that was set last, not before it, until it is heard."""

from __future__ import annotations

import select
import sys
import threading
from collections.abc import Iterator

import pytest

from relay.clock import real_s
from relay.loop.alarm import Alarm, AlarmThread, TimerFd, open_alarm

SOON_S = 0.05
LATE_S = 3600.0


@pytest.fixture(params=[TimerFd, AlarmThread])
def alarm(request: pytest.FixtureRequest) -> Iterator[Alarm]:
    if request.param is TimerFd and sys.platform != "linux":
        pytest.skip("only Linux has timerfd")
    alarm: Alarm = request.param()
    yield alarm
    alarm.close()


def rings(alarm: Alarm, within_s: float) -> bool:
    return bool(select.select([alarm], [], [], within_s)[0])


def test_it_rings_at_the_time_and_not_before_until_it_is_heard(alarm: Alarm) -> None:
    due_s = real_s() + SOON_S
    alarm.set(due_s)
    assert rings(alarm, 20)
    assert real_s() >= due_s
    assert rings(alarm, 0)
    alarm.clear()
    assert not rings(alarm, SOON_S)
    alarm.clear()


def test_it_rings_at_the_moment_that_was_set_last(alarm: Alarm) -> None:
    alarm.set(real_s() + LATE_S)
    assert not rings(alarm, 0)
    alarm.set(real_s() + SOON_S)
    assert rings(alarm, 20)
    alarm.clear()
    alarm.set(real_s() + SOON_S)
    alarm.set(real_s() + LATE_S)
    assert not rings(alarm, 2 * SOON_S)


@pytest.mark.parametrize("ago_s", [0.0, 1.0, 1e9])
def test_a_moment_that_has_passed_rings_at_once(alarm: Alarm, ago_s: float) -> None:
    alarm.set(real_s() - ago_s)
    assert rings(alarm, 20)


def test_a_thread_ends_with_its_alarm() -> None:
    threads = threading.active_count()
    alarm = AlarmThread()
    alarm.set(real_s() + LATE_S)
    alarm.close()
    assert threading.active_count() == threads


def test_where_there_is_no_timerfd_a_thread_takes_its_place(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail() -> None:
        raise OSError("seccomp says no")

    monkeypatch.setattr("relay.loop.alarm.TimerFd", fail)
    alarm = open_alarm()
    assert isinstance(alarm, AlarmThread)
    alarm.close()
