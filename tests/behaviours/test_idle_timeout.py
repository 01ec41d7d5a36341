"""`idle-timeout`: when a connection counts as idle is the engine's to find out; what its two sides get is said here."""

from __future__ import annotations

import pytest

from relay.abilities import Ability, Want
from relay.actions import Action, Close, Forget, SendRst, WatchIdle
from relay.behaviours.idle_timeout import IdleTimeout
from relay.events import FinReceived, Side, WentIdle
from relay.testing.playbook import connected, play

IN, OUT = Side.INTERNAL, Side.EXTERNAL


def test_behind_aws_the_app_gets_a_reset_for_its_next_segment_and_the_server_nothing() -> None:
    flow = play(
        connected(IdleTimeout(), steps=[WatchIdle("idle", 350.0, "segments")]),
        (WentIdle(350.0, "idle", 0.0), [Forget(IN, "reset", 900.0), Forget(OUT, "silence", 900.0)]),
    )
    assert flow.over
    assert flow.cause == "idle-timeout"
    assert {side: ending.how for side, ending in flow.endings.items()} == {IN: "forgotten", OUT: "silence"}


@pytest.mark.parametrize(
    ("end", "internal", "external"),
    [
        ("silence", Forget(IN, "silence", 7.0), Forget(OUT, "silence", 7.0)),
        ("rst-on-next", Forget(IN, "reset", 7.0), Forget(OUT, "reset", 7.0)),
        ("rst", SendRst(IN), SendRst(OUT)),
        ("fin", Close(IN), Close(OUT)),
    ],
)
def test_each_end_is_one_action_on_its_side(end: str, internal: Action, external: Action) -> None:
    idle = IdleTimeout(internal=end, external=end, silence_s=7.0)
    flow = play(
        connected(idle, steps=[WatchIdle("idle", 350.0, "segments")]),
        (WentIdle(350.0, "idle", 0.0), [internal, external]),
    )
    assert flow.over


def test_half_a_connection_has_a_limit_of_its_own_if_it_is_set() -> None:
    first = WatchIdle("idle", 900.0, "segments")
    for half_closed_s, after_s in ((60.0, 60.0), (0.0, 900.0)):
        idle = IdleTimeout(after_s=900.0, half_closed_s=half_closed_s)
        play(connected(idle, steps=[first]), (FinReceived(5.0, IN), [WatchIdle("idle", after_s, "segments")]))


def test_whose_traffic_counts_which_and_how_often_the_nat_looks_is_the_engines_to_know() -> None:
    idle = IdleTimeout(after_s=300.0, late_s=30.0, counts="data", refreshed_by="internal")
    connected(idle, steps=[WatchIdle("idle", 300.0, "data", IN, 30.0)])


@pytest.mark.parametrize(
    ("internal", "external", "wanted"),
    [
        ("rst-on-next", "silence", {Want(Ability.STRAY_RESET), Want(Ability.SILENCE, external=True)}),
        ("rst", "fin", {Want(Ability.CLOSE, external=True)}),
    ],
)
def test_each_end_takes_its_ability_of_its_own_leg(internal: str, external: str, wanted: set[Want]) -> None:
    always = {Want(Ability.CLOSE), Want(Ability.IDLENESS, by="data")}
    assert set(IdleTimeout(counts="data", internal=internal, external=external).wants()) == wanted | always
