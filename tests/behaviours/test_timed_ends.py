"""`lifetime-limit`, `stray-reset` and the moments of `link-down-reset`: ends that no traffic brings about."""

from __future__ import annotations

import pytest

from relay.actions import Action, Close, Forget, SendRst, StartTimer
from relay.behaviours.lifetime_limit import LifetimeLimit
from relay.behaviours.link_down_reset import LinkDownReset
from relay.behaviours.stray_reset import StrayReset
from relay.events import DialSucceeded, LinkWentDown, Side, TimerFired
from relay.testing.playbook import connected, play

IN, OUT = Side.INTERNAL, Side.EXTERNAL
RESET: list[Action] = [SendRst(IN), SendRst(OUT)]


def test_a_connection_gets_so_old_and_its_jitter_older() -> None:
    flow = connected(LifetimeLimit(after_s=60.0, jitter_s=8.0), steps=[StartTimer("old", 62.0)], chance=[0.25])
    assert play(flow, (TimerFired(62.0, "old"), [Close(IN), Close(OUT)])).cause == "lifetime-limit"


def test_without_jitter_nothing_is_left_to_chance() -> None:
    connected(LifetimeLimit(after_s=60.0), steps=[StartTimer("old", 60.0)])


def test_a_share_of_the_connections_is_reset_at_some_moment() -> None:
    stray = StrayReset(share=0.3, within_s=10.0)
    play(connected(stray, steps=[StartTimer("stray", 5.0)], chance=[0.29, 0.5]), (TimerFired(5.0, "stray"), RESET))
    connected(StrayReset(share=0.3), chance=[0.3])
    connected(StrayReset())


def test_a_link_that_goes_down_may_end_them_in_other_ways() -> None:
    down = LinkDownReset(internal="silence", external="fin", silence_s=5.0)
    play(connected(down), (LinkWentDown(3.0), [Forget(IN, "silence", 5.0), Close(OUT)]))


@pytest.mark.parametrize("jitter_s", [0.0, 40.0, 250.0])
def test_all_connections_end_at_the_same_moments(jitter_s: float) -> None:
    every = LinkDownReset(every_s=100.0, jitter_s=jitter_s)
    moments = set()
    for at_s in range(1000):
        (timer,) = every.on_dial_succeeded(DialSucceeded(float(at_s)))
        assert isinstance(timer, StartTimer)
        assert 0 < timer.after_s <= 100 + jitter_s
        moments.add(round(at_s + timer.after_s, 6))
    assert 7 <= len(moments) <= 11
