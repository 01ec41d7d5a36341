"""Looking again at once goes on while it pays, and becomes rare when it does not."""

from __future__ import annotations

import math

import pytest

from relay.loop.spin import NAP_S, SPIN_S, Spin

LOOK_S = 0.75 * SPIN_S


class Clock:
    """Moves on by `LOOK_S` each time it is read: so long does a step take."""

    def __init__(self) -> None:
        self.now_s = 1000.0

    def monotonic(self) -> float:
        self.now_s += LOOK_S
        return self.now_s


@pytest.fixture(autouse=True)
def _clock(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("relay.loop.spin.real_s", Clock().monotonic)


class Steps:
    """Finds something to do as often as its list says, then nothing."""

    def __init__(self, busy: int = 0) -> None:
        self.busy = busy
        self.count = 0

    def __call__(self, wait_s: float) -> bool:
        self.count += 1
        assert self.count < 1000, "it does not end"
        self.busy -= 1
        return self.busy >= 0


def looks(spin: Spin, turns: int) -> int:
    """In how many of so many turns it looked again, in vain."""
    found = 0
    for _ in range(turns):
        steps = Steps()
        spin.run(steps)
        found += steps.count > 0
    return found


def test_it_goes_on_until_nothing_has_come_for_the_whole_span() -> None:
    steps = Steps(busy=5)
    Spin().run(steps)
    assert steps.count == 5 + math.ceil(SPIN_S / LOOK_S)


def test_it_ends_though_there_always_is_something() -> None:
    steps = Steps(busy=1 << 60)
    Spin().run(steps)
    assert steps.count == math.ceil(2e-3 / LOOK_S)


def test_what_does_not_pay_becomes_rare() -> None:
    spin = Spin()
    assert looks(spin, 1) == 1
    assert looks(spin, 127) == 6
    assert looks(spin, 640) == 10


def test_once_it_has_paid_it_is_done_every_time_again() -> None:
    spin = Spin()
    looks(spin, 127)  # the next look is 64 turns away
    passed = 0
    steps = Steps(busy=1)
    while not steps.count:
        spin.run(steps)
        passed += 1
    assert passed == 64
    again = Steps(busy=1)
    spin.run(again)
    assert again.count > 1


class BulkySteps:
    """Finds bulk as often as its argument says, and remembers how long it might have waited for it."""

    def __init__(self, spin: Spin, bulk: int) -> None:
        self.spin = spin
        self.bulk = bulk
        self.waits_s: list[float] = []

    def __call__(self, wait_s: float) -> bool:
        self.waits_s.append(wait_s)
        if len(self.waits_s) > self.bulk:
            return False
        self.spin.nap()
        return True


def test_bulk_is_waited_for_asleep() -> None:
    spin = Spin()
    spin.nap()
    steps = BulkySteps(spin, bulk=3)
    spin.run(steps)
    assert steps.waits_s == [NAP_S] * 4, "and no more once one was in vain"


def test_after_bulk_it_looks_as_ever() -> None:
    spin = Spin()
    spin.nap()
    steps = Steps(busy=1)
    spin.run(steps)
    assert steps.count == 1 + math.ceil(SPIN_S / LOOK_S), "where a nap ends with the first that was in vain"


def test_naps_that_do_not_pay_become_rare() -> None:
    spin = Spin()
    naps = 0
    for _ in range(128):
        spin.nap()
        steps = BulkySteps(spin, bulk=0)
        spin.run(steps)
        naps += len(steps.waits_s)
    assert naps == 7
