"""`flow-limit`: what it asks for at each event; how many flows there are is the driver's to know."""

from __future__ import annotations

import pytest

from relay.actions import Action, Dial, GiveSlot, Grant, Ignore, Refuse, SendFin, SendRst, TakeSlot
from relay.address import Endpoint
from relay.behaviours.close_mapping import CloseMapping
from relay.behaviours.flow_limit import FlowLimit
from relay.behaviours.precomplete_handshake import PrecompleteHandshake
from relay.events import (
    ConnectRequested,
    DialFailure,
    DialSucceeded,
    FailureKind,
    FinReceived,
    RstReceived,
    Side,
    SlotDenied,
    SlotTaken,
)
from relay.testing.playbook import Playbook, play

IN, OUT = Side.INTERNAL, Side.EXTERNAL
ASKED = ConnectRequested(0.0, Endpoint("192.0.2.1", 22), IN)


def connected(limit: FlowLimit) -> Playbook:
    return play(
        [PrecompleteHandshake(order="lockstep"), CloseMapping(), limit],
        (ASKED, [(TakeSlot("flows", limit.max_flows, limit.per), "flow-limit")]),  # type: ignore[arg-type]
        (SlotTaken(0.0, "flows"), [Dial()]),
        (DialSucceeded(0.2), [Grant()]),
    )


@pytest.mark.parametrize("per", ["destination", "relay"])
def test_a_connection_keeps_its_slot_until_it_is_over(per: str) -> None:
    flow = play(
        connected(FlowLimit(max_flows=7, per=per)),
        (FinReceived(1.0, IN), [SendFin(OUT)]),
        (FinReceived(2.0, OUT), [SendFin(IN)]),
    )
    assert flow.over


def test_a_port_rests_from_the_second_fin() -> None:
    play(
        connected(FlowLimit(hold_after_fin_s=65.0)),
        (FinReceived(1.0, OUT), [SendFin(IN)]),
        (FinReceived(2.0, IN), [SendFin(OUT), (GiveSlot("flows", 65.0), "flow-limit")]),
    )


@pytest.mark.parametrize("side", Side)
def test_a_port_rests_from_a_reset(side: Side) -> None:
    limit = FlowLimit(hold_after_fin_s=65.0, hold_after_rst_s=16.0)
    reset = SendRst(side.other, after_data=True)
    play(connected(limit), (RstReceived(1.0, side), [reset, GiveSlot("flows", 16.0)]))
    half_closed = play(connected(limit), (FinReceived(1.0, side), [SendFin(side.other)]))
    play(half_closed, (RstReceived(2.0, side.other), [SendRst(side, after_data=True), GiveSlot("flows", 16.0)]))


@pytest.mark.parametrize(
    ("surplus", "per", "answer"),
    [
        ("silence", "destination", Ignore(130.0, once=True)),
        ("silence", "relay", Ignore(130.0, once=True)),
        ("refuse", "destination", "2 connections to this destination are open, or count still"),
        ("refuse", "relay", "2 connections are open, or count still"),
    ],
)
def test_one_too_many_gets_no_answer_or_a_refusal(surplus: str, per: str, answer: Action | str) -> None:
    if isinstance(answer, str):
        answer = Refuse(DialFailure(FailureKind.REFUSED, answer))
    flow = play(
        [PrecompleteHandshake(), FlowLimit(max_flows=2, per=per, surplus=surplus)],
        (ASKED, [TakeSlot("flows", 2, per)]),  # type: ignore[arg-type]
        (SlotDenied(0.0, "flows"), [answer]),
    )
    assert flow.over
    assert flow.cause == "flow-limit"
