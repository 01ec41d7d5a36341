"""`precomplete-handshake`: which handshake completes first, and what becomes of the other."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest

from captures.trace import elapsed_ms, read_trace
from relay.abilities import Ability, Want
from relay.actions import AbandonDial, Action, Dial, Grant, Refuse, SendFin, SendRst
from relay.address import Endpoint
from relay.behaviours.precomplete_handshake import PrecompleteHandshake
from relay.events import (
    ConnectRequested,
    DialFailed,
    DialFailure,
    DialSucceeded,
    Event,
    FailureKind,
    InitiatorSent,
    InitiatorVanished,
    Side,
)
from relay.testing.playbook import play

REFUSED = DialFailure(FailureKind.REFUSED)
ASKED = ConnectRequested(0.0, Endpoint("192.0.2.1", 22), Side.INTERNAL)
ASKED_FROM_OUTSIDE = ConnectRequested(0.0, Endpoint("192.0.2.1", 22), Side.EXTERNAL)
CONNECTED = DialSucceeded(0.2)
FAILED = DialFailed(0.2, REFUSED)
VANISHED = InitiatorVanished(0.1)


@pytest.mark.parametrize(
    ("order", "events", "steps"),
    [
        ("external-first", [ASKED, CONNECTED], [[Dial()], [Grant()]]),
        ("external-first", [ASKED, FAILED], [[Dial()], [Refuse(REFUSED)]]),
        ("external-first", [ASKED, VANISHED, CONNECTED], [[Dial()], [], [SendFin(Side.EXTERNAL)]]),
        ("internal-first", [ASKED, CONNECTED], [[Grant(), Dial()], []]),
        ("internal-first", [ASKED, FAILED], [[Grant(), Dial()], [SendRst(Side.INTERNAL)]]),
        ("internal-first", [ASKED, VANISHED, CONNECTED], [[Grant(), Dial()], [], [SendFin(Side.EXTERNAL)]]),
        ("lockstep", [ASKED, CONNECTED], [[Dial()], [Grant()]]),
        ("lockstep", [ASKED, FAILED], [[Dial()], [Refuse(REFUSED)]]),
        ("lockstep", [ASKED, VANISHED], [[Dial()], [AbandonDial()]]),
        ("external-first", [ASKED_FROM_OUTSIDE, VANISHED, CONNECTED], [[Dial()], [], [SendFin(Side.INTERNAL)]]),
        ("internal-first", [ASKED_FROM_OUTSIDE, FAILED], [[Grant(), Dial()], [SendRst(Side.EXTERNAL)]]),
    ],
)
def test_each_order_has_its_own_way(order: str, events: list[Event], steps: list[list[Action]]) -> None:
    play(PrecompleteHandshake(order=order), *zip(events, steps, strict=True))


def test_a_dial_may_wait_for_the_first_byte() -> None:
    waiting = PrecompleteHandshake(order="internal-first", dial_on="data")
    play(waiting, (ASKED, [Grant()]), (InitiatorSent(0.1), [Dial()]), (CONNECTED, []))
    flow = play(PrecompleteHandshake(order="internal-first", dial_on="data"), (ASKED, [Grant()]), (VANISHED, []))
    assert flow.over
    play(PrecompleteHandshake(order="internal-first"), (ASKED, [Grant(), Dial()]), (InitiatorSent(0.1), []))


def test_vmware_granted_the_guest_only_after_the_server_had_answered() -> None:
    guest, host = read_trace("fusion_guest"), read_trace("fusion_host")
    assert (guest[2].flags, guest[2].sender, host[2].flags, host[2].sender) == ("S.", "nat", "S.E", "server")
    assert elapsed_ms(guest, 1, 2) - elapsed_ms(host, 1, 2) == pytest.approx(2.8, abs=0.1)
    assert PrecompleteHandshake().order == "external-first"
    play(PrecompleteHandshake(), (ASKED, [Dial()]), (DialSucceeded(host[2].at_s), [Grant()]))


def test_a_lone_syn_still_makes_a_whole_handshake_with_the_server() -> None:
    """The guest's kernel answers the SYN-ACK of a connection that it never opened with RST: it vanishes."""
    capture = tomllib.loads(
        (Path(__file__).parents[1] / "captures" / "workstation_keepalive.toml").read_text(encoding="utf-8")
    )
    assert capture["lone_syn"] == {"guest_flags": ["S"], "host_flags": ["S", "S.", "."]}
    play(PrecompleteHandshake(), (ASKED, [Dial()]), (VANISHED, []), (CONNECTED, [SendFin(Side.EXTERNAL)]))


def test_it_needs_a_front_end_that_can_wait() -> None:
    assert set(PrecompleteHandshake().wants()) == {Want(Ability.HANDSHAKE)}
