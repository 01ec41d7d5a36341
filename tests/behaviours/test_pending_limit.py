"""`pending-limit`: what it asks for at each event; who has a slot is the driver's to know."""

from __future__ import annotations

import math

import pytest

from relay.actions import AbandonDial, Action, Dial, GiveSlot, Grant, Ignore, Refuse, TakeSlot
from relay.address import Endpoint
from relay.behaviours.pending_limit import PendingLimit
from relay.behaviours.precomplete_handshake import PrecompleteHandshake
from relay.events import (
    ConnectRequested,
    DialFailed,
    DialFailure,
    DialSucceeded,
    FailureKind,
    InitiatorVanished,
    Side,
    SlotDenied,
    SlotTaken,
)
from relay.testing.playbook import Playbook, play

ASKED = ConnectRequested(0.0, Endpoint("192.0.2.1", 22), Side.INTERNAL)
REFUSED = DialFailure(FailureKind.REFUSED)


def asking(limit: PendingLimit, order: str = "lockstep", *, wait: bool = False) -> Playbook:
    slot = TakeSlot("dials", limit.max_pending, wait=wait)
    return play([PrecompleteHandshake(order=order), limit], (ASKED, [(slot, "pending-limit")]))


def test_a_dial_waits_for_its_slot_and_gives_it_back_when_it_is_through() -> None:
    play(
        asking(PendingLimit(max_pending=3)),
        (SlotTaken(0.0, "dials"), [(Dial(), "precomplete-handshake")]),
        (DialSucceeded(0.2), [Grant(), (GiveSlot("dials"), "pending-limit")]),
    )


def test_a_dial_that_fails_gives_its_slot_back() -> None:
    play(
        asking(PendingLimit()),
        (SlotTaken(0.0, "dials"), [Dial()]),
        (DialFailed(0.2, REFUSED), [Refuse(REFUSED), GiveSlot("dials")]),
    )


@pytest.mark.parametrize(
    ("surplus", "answer"),
    [
        ("silence", Ignore(130.0, once=True)),
        ("refuse", Refuse(DialFailure(FailureKind.REFUSED, "10 dials are under way"))),
    ],
)
@pytest.mark.parametrize("order", ["lockstep", "external-first", "internal-first"])
def test_one_too_many_is_neither_granted_nor_dialled(order: str, surplus: str, answer: Action) -> None:
    flow = play(asking(PendingLimit(surplus=surplus), order), (SlotDenied(0.0, "dials"), [answer]))
    assert flow.over
    assert flow.cause == "pending-limit"


def test_one_that_has_to_wait_is_dialled_when_its_turn_comes() -> None:
    play(
        asking(PendingLimit(surplus="wait"), "internal-first", wait=True),
        (SlotTaken(7.0, "dials"), [Grant(), Dial()]),
    )


def test_one_that_gives_up_meanwhile_is_not_dialled() -> None:
    flow = play(asking(PendingLimit(surplus="wait"), wait=True), (InitiatorVanished(3.0), []))
    assert flow.over


@pytest.mark.parametrize(("leaks", "given"), [(False, []), (True, [GiveSlot("dials", math.inf)])])
def test_an_initiator_that_goes_away_may_keep_its_slot(leaks: bool, given: list[Action]) -> None:
    play(
        asking(PendingLimit(leaks=leaks)),
        (SlotTaken(0.0, "dials"), [Dial()]),
        (InitiatorVanished(1.0), [AbandonDial(), *given]),
    )
