"""The faults that are made on purpose: what each asks for when a connection begins, and what of the host that takes."""

from __future__ import annotations

from dataclasses import replace

import pytest

from relay.abilities import Ability, Want
from relay.actions import AbandonDial, Action, Close, DelayDial, Dial, Ignore, SetShape, StartTimer
from relay.actions import Refuse as RefuseIt
from relay.address import Endpoint
from relay.behaviours import Behaviour
from relay.behaviours.bandwidth import Bandwidth
from relay.behaviours.cut import Cut
from relay.behaviours.latency import Latency
from relay.behaviours.limit_data import LimitData
from relay.behaviours.loss import Loss
from relay.behaviours.precomplete_handshake import PrecompleteHandshake
from relay.behaviours.refuse import Refuse
from relay.behaviours.slicer import Slicer
from relay.behaviours.slow_close import SlowClose
from relay.behaviours.slow_dial import SlowDial
from relay.events import ConnectRequested, DialFailure, FailureKind, LimitReached, Side, TimerFired
from relay.shape import PLAIN, Shape
from relay.testing.playbook import connected, play

IN, OUT = Side.INTERNAL, Side.EXTERNAL
ASKED = ConnectRequested(0.0, Endpoint("api.test", 80), IN)

SHAPED: dict[str, tuple[Behaviour, Shape]] = {
    "latency": (Latency(delay_s=0.2, jitter_s=0.1), Shape(delay_s=0.2, jitter_s=0.1)),
    "bandwidth": (Bandwidth(rate_bytes_per_s=1000), Shape(rate_bytes_per_s=1000)),
    "slicer": (Slicer(slice_bytes=9, pause_s=0.5), Shape(slice_bytes=9, slice_delay_s=0.5)),
    "slow-close": (SlowClose(delay_s=2), Shape(end_delay_s=2)),
    "limit-data": (LimitData(after_bytes=7, direction="both"), Shape(limit_bytes=7)),
}


@pytest.mark.parametrize("name", SHAPED)
@pytest.mark.parametrize(("direction", "sides"), [("both", (OUT, IN)), ("to-app", (IN,)), ("to-server", (OUT,))])
def test_it_shapes_the_directions_that_it_says(name: str, direction: str, sides: tuple[Side, ...]) -> None:
    fault, shape = SHAPED[name]
    connected(replace(fault, direction=direction), steps=[SetShape(side, shape) for side in sides])  # type: ignore[type-var]


@pytest.mark.parametrize("name", [name for name in SHAPED if name != "limit-data"])
def test_a_shape_takes_no_ability_of_the_host(name: str) -> None:
    assert list(SHAPED[name][0].wants()) == []


def test_other_faults_take_what_their_ends_take() -> None:
    assert list(Loss().wants()) == list(SlowDial().wants()) == list(Cut(how="stall").wants()) == []
    assert list(Cut().wants()) == [Want(Ability.CLOSE)]
    assert list(Refuse().wants()) == [Want(Ability.HANDSHAKE)]
    assert list(LimitData().wants()) == [Want(Ability.CLOSE), Want(Ability.CLOSE, external=True)]


def test_the_limit_of_another_behaviour_ends_nothing() -> None:
    limit = connected(LimitData(after_bytes=7), steps=[SetShape(IN, Shape(limit_bytes=7))])
    flow = play(limit, (LimitReached(1.0, IN, 6), []), (LimitReached(1.0, OUT, 7), []))
    assert play(flow, (LimitReached(2.0, IN, 7), [Close(IN), Close(OUT)])).over


def test_a_stall_lasts_as_a_retransmission_does_and_longer_if_that_is_lost_too() -> None:
    loss = Loss(share=0.5, segments_per_s=2, timeout_s=1, direction="to-app")
    flow = connected(loss, steps=[StartTimer("lost internal", 0.0)], chance=[0.0])
    play(
        flow,
        (TimerFired(0.0, "lost internal"), [SetShape(IN, Shape(stall=True)), StartTimer("sent internal", 3.0)]),
        chance=[0.4, 0.6],
    )
    play(
        flow, (TimerFired(3.0, "sent internal"), [SetShape(IN, PLAIN), StartTimer("lost internal", 0.0)]), chance=[0.0]
    )
    play(
        flow,
        (TimerFired(3.0, "lost internal"), [SetShape(IN, Shape(stall=True)), StartTimer("sent internal", 63.0)]),
        chance=[0.0] * 5,
    )


@pytest.mark.parametrize(
    ("failure", "kind"),
    [
        ("refused", FailureKind.REFUSED),
        ("timed-out", FailureKind.TIMED_OUT),
        ("not-resolved", FailureKind.NOT_RESOLVED),
    ],
)
def test_a_refused_dial_is_not_begun(failure: str, kind: FailureKind) -> None:
    refusal = RefuseIt(DialFailure(kind, f"{failure}, by refuse"), instead=True)
    assert play([PrecompleteHandshake(), Refuse(failure=failure)], (ASKED, [refusal])).over
    play([PrecompleteHandshake(), Refuse(failure="silence")], (ASKED, [Ignore(130.0)]))


def test_a_share_of_the_dials_is_refused() -> None:
    play([PrecompleteHandshake(), Refuse(share=0.5)], (ASKED, [Dial()]), chance=[0.5])
    (first, *_) = Refuse(share=1.0).on_connect_requested(ASKED)
    assert first == AbandonDial()


@pytest.mark.parametrize(
    ("slow", "chance", "steps"),
    [
        (SlowDial(), [], [Dial()]),
        (SlowDial(syn_share=0.5, by_s=1), [0.4, 0.4, 0.6], [DelayDial(3.0), Dial()]),
        (SlowDial(syn_share=0.5, by_s=1), [0.0] * 6, [DelayDial(63.0), Dial()]),
        (SlowDial(name_share=0.5, name_by_s=5, delay_s=1), [0.4], [DelayDial(6.0), Dial()]),
        (SlowDial(name_share=0.5, name_by_s=5), [0.6], [Dial()]),
    ],
)
def test_a_dial_is_late_for_each_syn_and_lookup_that_is_lost(
    slow: SlowDial, chance: list[float], steps: list[Action]
) -> None:
    play([PrecompleteHandshake(), slow], (ASKED, steps), chance=chance)
