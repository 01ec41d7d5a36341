"""`cut`: when a connection is cut, and what both sides get; `refuse`, `limit-time` and their other names."""

from __future__ import annotations

import pytest

from relay.actions import Action, Close, CountRequests, DelayDial, Dial, Note, SendRst, SetShape, StartTimer
from relay.address import Endpoint
from relay.behaviours.cut import Cut
from relay.behaviours.lifetime_limit import LifetimeLimit
from relay.behaviours.precomplete_handshake import PrecompleteHandshake
from relay.behaviours.refuse import Refuse
from relay.behaviours.slow_dial import SlowDial
from relay.errors import ConfigError
from relay.events import ConnectRequested, LimitReached, RequestBegan, Side, TimerFired
from relay.profiles import load_profile
from relay.shape import Shape
from relay.testing.playbook import connected, play

IN, OUT = Side.INTERNAL, Side.EXTERNAL
ENDS: dict[str, list[Action]] = {
    "rst": [SendRst(IN), SendRst(OUT)],
    "fin": [Close(IN), Close(OUT)],
    "stall": [SetShape(IN, Shape(stall=True)), SetShape(OUT, Shape(stall=True))],
}


@pytest.mark.parametrize("how", ENDS)
def test_a_connection_is_cut_after_some_bytes(how: str) -> None:
    cut = Cut(after_bytes=100, how=how)
    flow = play(
        connected(cut, steps=[SetShape(IN, Shape(limit_bytes=100))]),
        (LimitReached(1.0, OUT, 100), []),
        (LimitReached(1.0, IN, 99), []),
        (LimitReached(2.0, IN, 100), [Note(f"{how} after 100 bytes"), *ENDS[how]]),
    )
    assert flow.over is (how != "stall")
    assert flow.cause == ("" if how == "stall" else "cut")


@pytest.mark.parametrize("how", ENDS)
def test_a_connection_is_cut_at_an_age_whatever_it_carries(how: str) -> None:
    cut = connected(Cut(after_s=2.5, how=how), steps=[StartTimer("old", 2.5)])
    play(cut, (TimerFired(2.5, "old"), [Note(f"{how} after 2.5 s"), *ENDS[how]]))


@pytest.mark.parametrize("how", ENDS)
def test_a_connection_is_cut_at_a_request(how: str) -> None:
    play(
        connected(Cut(at_request=2, how=how), steps=[CountRequests()]),
        (RequestBegan(1.0, 1), []),
        (RequestBegan(2.0, 2), [Note(f"{how} at request 2"), *ENDS[how]]),
        (RequestBegan(3.0, 3), []),
    )


def test_whatever_comes_first_cuts() -> None:
    shapes = [SetShape(OUT, Shape(limit_bytes=9)), SetShape(IN, Shape(limit_bytes=9))]
    steps = [*shapes, StartTimer("old", 5.0), CountRequests()]
    connected(Cut(after_bytes=9, direction="both", after_s=5.0, at_request=1), steps=steps)


def test_a_cut_without_a_moment_is_refused() -> None:
    with pytest.raises(ConfigError) as caught:
        load_profile("transparent", ["cut.how=fin"])
    assert str(caught.value) == "transparent.toml: cut: nothing says when it cuts"
    assert caught.value.hint == "set after_bytes, after_s or at_request of cut"
    load_profile("transparent", ["cut.after_s=1"])


@pytest.mark.parametrize(
    ("setting", "kind"), [("limit-time.after_s=5", LifetimeLimit), ("refuse-dial.share=0.5", Refuse)]
)
def test_a_behaviour_has_another_name(setting: str, kind: type) -> None:
    (quirk,) = (quirk for quirk in load_profile("transparent", [setting]).quirks if quirk.kind is kind)
    name, _, value = setting.partition(".")[2].partition("=")
    assert quirk.settings[name] == float(value)


def test_every_dial_is_late_without_any_chance() -> None:
    asked = ConnectRequested(0.0, Endpoint("192.0.2.1", 80), IN)
    play([PrecompleteHandshake(), SlowDial(delay_s=2.0)], (asked, [DelayDial(2.0), Dial()]))
