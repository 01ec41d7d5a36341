"""A flow's whole life, from its first event to its last, with the relay's own behaviours."""

from __future__ import annotations

import pytest

from machine.requesting import (
    ASKED,
    CONNECTED,
    EXTERNAL,
    INTERNAL,
    MARKED,
    REFUSED,
    Request,
    connected,
    lockstep,
    vmware,
)
from relay.actions import (
    AbandonDial,
    Blackhole,
    Dial,
    Grant,
    Refuse,
    ReportLoss,
    SendFin,
    SendRst,
    StartTimer,
)
from relay.address import Endpoint
from relay.behaviours.close_mapping import CloseMapping
from relay.behaviours.link_down_reset import LinkDownReset
from relay.behaviours.precomplete_handshake import PrecompleteHandshake
from relay.behaviours.tos_reset import TosReset
from relay.causes import How
from relay.events import (
    ConnectRequested,
    DialFailed,
    Ending,
    Event,
    FinReceived,
    InitiatorVanished,
    LegTimedOut,
    LinkWentDown,
    RstReceived,
    Side,
    TimerFired,
)
from relay.machine import FlowMachine
from relay.testing.playbook import ExpectedStep, play


class TestLives:
    """From the first event to the last."""

    def test_both_sides_say_goodbye(self) -> None:
        flow = play(
            lockstep(),
            (ASKED, [(Dial(), "precomplete-handshake")]),
            (CONNECTED, [(Grant(), "precomplete-handshake")]),
            (FinReceived(1.0, INTERNAL), [(SendFin(EXTERNAL), "close-mapping")]),
        )
        assert not flow.over
        assert flow.can_send(INTERNAL)
        assert not flow.can_send(EXTERNAL)
        play(flow, (FinReceived(2.0, EXTERNAL), [(SendFin(INTERNAL), "close-mapping")]))
        assert flow.over
        assert flow.cause == "internal-peer"
        assert flow.endings == {
            INTERNAL: Ending(INTERNAL, How.FIN, "peer"),
            EXTERNAL: Ending(EXTERNAL, How.FIN, "close-mapping"),
        }

    def test_a_half_close_that_is_to_close_all_leaves_only_the_servers_fin_to_come(self) -> None:
        flow = play(
            [PrecompleteHandshake(), CloseMapping(half_close="close")],
            (ASKED, [(Dial(), "precomplete-handshake")]),
            (CONNECTED, [(Grant(), "precomplete-handshake")]),
            (
                FinReceived(1.0, INTERNAL),
                [(SendFin(EXTERNAL), "close-mapping"), (SendFin(INTERNAL), "close-mapping")],
            ),
        )
        assert flow.is_over(INTERNAL)
        assert not flow.is_over(EXTERNAL)
        assert play(flow, (FinReceived(1.2, EXTERNAL), [])).over

    def test_the_server_refuses(self) -> None:
        flow = play(
            lockstep(),
            (ASKED, [(Dial(), "precomplete-handshake")]),
            (DialFailed(0.2, REFUSED), [(Refuse(REFUSED), "precomplete-handshake")]),
        )
        assert flow.over
        assert flow.answered
        assert flow.cause == "destination"
        assert flow.endings == {INTERNAL: Ending(INTERNAL, How.REFUSED, "precomplete-handshake")}

    def test_the_app_vanishes_in_lockstep_and_the_server_never_knows(self) -> None:
        flow = play(
            lockstep(),
            (ASKED, [(Dial(), "precomplete-handshake")]),
            (InitiatorVanished(0.1), [(AbandonDial(), "precomplete-handshake")]),
        )
        assert flow.over
        assert not flow.answered
        assert flow.endings == {INTERNAL: Ending(INTERNAL, How.ABANDONED, "peer")}

    def test_the_app_vanishes_and_the_server_still_sees_a_connection_then_a_fin(self) -> None:
        flow = play(
            vmware(),
            (ASKED, [(Dial(), "precomplete-handshake")]),
            (InitiatorVanished(0.1), []),
        )
        assert not flow.over
        play(flow, (CONNECTED, [(SendFin(EXTERNAL), "precomplete-handshake")]))
        assert not flow.over
        assert play(flow, (FinReceived(0.4, EXTERNAL), [])).over

    def test_the_app_vanishes_before_the_server_refuses(self) -> None:
        flow = play(
            vmware(),
            (ASKED, [(Dial(), "precomplete-handshake")]),
            (InitiatorVanished(0.1), []),
            (DialFailed(0.2, REFUSED), []),
        )
        assert flow.over

    def test_the_app_is_granted_before_the_dial_and_reset_when_it_fails(self) -> None:
        flow = play(
            [PrecompleteHandshake(order="internal-first")],
            (ASKED, [(Grant(), "precomplete-handshake"), (Dial(), "precomplete-handshake")]),
            (DialFailed(0.2, REFUSED), [(SendRst(INTERNAL), "precomplete-handshake")]),
        )
        assert flow.over
        assert flow.endings == {INTERNAL: Ending(INTERNAL, How.RST, "precomplete-handshake")}

    def test_ssh_marks_a_segment_and_dies_as_behind_vmware(self) -> None:
        flow = play(
            vmware(),
            (ASKED, [(Dial(), "precomplete-handshake")]),
            (CONNECTED, [(Grant(), "precomplete-handshake")]),
            (MARKED, [(SendRst(INTERNAL), "tos-reset"), (StartTimer("external-close", 0.105), "tos-reset")]),
        )
        assert flow.is_over(INTERNAL)
        assert not flow.over
        play(
            flow,
            (TimerFired(1.105, "tos-reset/external-close"), [(SendFin(EXTERNAL), "tos-reset")]),
            (FinReceived(1.32, EXTERNAL), []),
        )
        assert flow.over
        assert flow.cause == "tos-reset"
        assert flow.endings == {
            INTERNAL: Ending(INTERNAL, How.RST, "tos-reset"),
            EXTERNAL: Ending(EXTERNAL, How.FIN, "tos-reset"),
        }

    def test_a_server_that_resets_takes_the_app_with_it_and_the_loss_is_reported(self) -> None:
        flow = play(
            vmware(),
            (ASKED, [(Dial(), "precomplete-handshake")]),
            (CONNECTED, [(Grant(), "precomplete-handshake")]),
            (
                RstReceived(1.0, EXTERNAL, unacked_bytes=7),
                [(SendRst(INTERNAL, after_data=True), "close-mapping"), (ReportLoss(7), "local-ack")],
            ),
        )
        assert flow.over
        assert flow.cause == "external-peer"
        assert flow.endings[INTERNAL] == Ending(INTERNAL, How.RST, "close-mapping")

    def test_a_server_found_dead_is_silence_to_the_app(self) -> None:
        flow = play(
            [PrecompleteHandshake(), CloseMapping(timed_out="silence", silence_s=5)],
            (ASKED, [(Dial(), "precomplete-handshake")]),
            (CONNECTED, [(Grant(), "precomplete-handshake")]),
            (LegTimedOut(9.0, EXTERNAL), [(Blackhole(INTERNAL, at_most_s=5), "close-mapping")]),
        )
        assert flow.over
        assert flow.endings == {
            EXTERNAL: Ending(EXTERNAL, How.TIMEOUT, "peer"),
            INTERNAL: Ending(INTERNAL, How.SILENCE, "close-mapping"),
        }

    def test_an_inbound_flow_is_opened_from_the_external_side(self) -> None:
        flow = play(
            [PrecompleteHandshake(), CloseMapping(), TosReset()],
            (ConnectRequested(0.0, Endpoint("192.0.2.1", 22), EXTERNAL), [(Dial(), "precomplete-handshake")]),
        )
        assert flow.initiator is EXTERNAL
        assert flow.is_over(INTERNAL)
        assert not flow.is_over(EXTERNAL)
        play(
            flow,
            (CONNECTED, [(Grant(), "precomplete-handshake")]),
            (MARKED, [(SendRst(INTERNAL), "tos-reset"), (StartTimer("external-close", 0.105), "tos-reset")]),
        )


class TestTheInitiatorGoesWhileTheDialIsUnderWay:
    """Whatever ends it, the behaviours get an event, so that no dial is left without an owner."""

    @pytest.mark.parametrize(
        ("order", "answer"),
        [("lockstep", [(AbandonDial(), "precomplete-handshake")]), ("external-first", [])],
    )
    def test_by_our_own_reset_before_it_was_answered(self, order: str, answer: list[ExpectedStep]) -> None:
        play(
            [PrecompleteHandshake(order=order), LinkDownReset()],
            (ASKED, [(Dial(), "precomplete-handshake")]),
            (LinkWentDown(0.1), [(SendRst(INTERNAL), "link-down-reset"), *answer]),
        )

    def test_by_our_own_reset_after_it_was_granted(self) -> None:
        flow = play(
            [PrecompleteHandshake(order="internal-first"), LinkDownReset()],
            (ASKED, [(Grant(), "precomplete-handshake"), (Dial(), "precomplete-handshake")]),
            (LinkWentDown(0.1), [(SendRst(INTERNAL), "link-down-reset")]),
            (CONNECTED, [(SendFin(EXTERNAL), "precomplete-handshake")]),
            (FinReceived(0.4, EXTERNAL), []),
        )
        assert flow.over
        assert flow.endings[INTERNAL] == Ending(INTERNAL, How.RST, "link-down-reset")

    def test_by_its_own_reset_after_it_was_granted(self) -> None:
        flow = play(
            [PrecompleteHandshake(order="internal-first"), CloseMapping()],
            (ASKED, [(Grant(), "precomplete-handshake"), (Dial(), "precomplete-handshake")]),
            (RstReceived(0.1, INTERNAL), []),
            (CONNECTED, [(SendFin(EXTERNAL), "precomplete-handshake")]),
            (FinReceived(0.4, EXTERNAL), []),
        )
        assert flow.over
        assert flow.endings[INTERNAL] == Ending(INTERNAL, How.RST, "peer")

    def test_by_another_behaviours_refusal(self) -> None:
        handshake, refusal = "precomplete-handshake", (Refuse(REFUSED), "request")
        flow = play(
            [PrecompleteHandshake(order="lockstep"), Request([[Refuse(REFUSED)]])],
            (ASKED, [(Dial(), handshake), refusal, (AbandonDial(), handshake)]),
        )
        assert flow.over
        assert flow.endings == {INTERNAL: Ending(INTERNAL, How.REFUSED, "request")}

    def test_a_refusal_that_comes_first_leaves_nothing_to_dial_for(self) -> None:
        flow = play([Request([[Refuse(REFUSED)]]), PrecompleteHandshake()], (ASKED, [(Refuse(REFUSED), "request")]))
        assert flow.over

    def test_it_is_reported_once(self) -> None:
        requested = Request([[Dial()]])
        play(
            requested,
            (ASKED, [Dial()]),
            (InitiatorVanished(0.1), []),
            (RstReceived(0.1, INTERNAL), []),
            (LinkWentDown(0.15), []),
        )
        assert [type(event) for event in requested.seen].count(InitiatorVanished) == 1


class TestFading:
    """What is left of a flow that fades should end soon, by itself or by the relay's limit for it."""

    @pytest.mark.parametrize(
        ("event", "fades"),
        [
            (FinReceived(1.0, INTERNAL), False),
            (FinReceived(1.0, EXTERNAL), False),
            (RstReceived(1.0, INTERNAL), True),
            (RstReceived(1.0, EXTERNAL), True),
            (LegTimedOut(1.0, EXTERNAL), True),
        ],
    )
    def test_a_side_that_died_begins_it_and_half_a_close_does_not(self, event: Event, fades: bool) -> None:
        machine = connected()
        machine.handle(event)
        assert machine.fading is fades
        assert not machine.over

    def test_it_begins_when_neither_peer_sends_any_more(self) -> None:
        machine = connected()
        machine.handle(FinReceived(1.0, INTERNAL))
        assert not machine.fading
        machine.handle(FinReceived(2.0, EXTERNAL))
        assert machine.fading
        assert not machine.over

    @pytest.mark.parametrize("side", [INTERNAL, EXTERNAL])
    def test_it_begins_when_a_side_has_had_both_fins(self, side: Side) -> None:
        machine = connected([SendFin(side)])
        machine.handle(FinReceived(1.0, side))
        assert machine.fading
        assert not machine.over

    def test_a_flow_that_still_dials_does_not_fade_because_there_is_no_server_yet(self) -> None:
        machine = FlowMachine(lockstep())
        assert not machine.fading
        machine.handle(ASKED)
        assert not machine.fading
