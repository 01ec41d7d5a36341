"""What becomes of behaviours' requests: whose they are, which come too late, and what happens when one fails."""

from __future__ import annotations

from dataclasses import dataclass

import pytest

from machine.requesting import (
    ASKED,
    CONNECTED,
    EXTERNAL,
    INTERNAL,
    REFUSED,
    Request,
    RequestMore,
    connected,
    lockstep,
    requesting,
)
from relay.actions import (
    AbandonDial,
    Action,
    AnswerProbe,
    Blackhole,
    Dial,
    Grant,
    LimitWindow,
    Note,
    Probe,
    Refuse,
    SendFin,
    SendRst,
    SetKeepalive,
    TakeSlot,
)
from relay.behaviours import Actions, Behaviour
from relay.behaviours.precomplete_handshake import PrecompleteHandshake
from relay.causes import How
from relay.errors import BehaviourError
from relay.events import (
    DialFailed,
    DialSucceeded,
    Ending,
    Event,
    FinReceived,
    InitiatorVanished,
    LegTimedOut,
    LinkWentDown,
    ProbeArrived,
    RstReceived,
    Side,
    SlotDenied,
    SlotTaken,
    TimerFired,
)
from relay.machine import FlowMachine, Step
from relay.testing.playbook import play


class TestSlots:
    """What is asked for together with a slot waits for it, whichever behaviour asks for which."""

    SLOT = TakeSlot("s", 1)

    def test_the_rest_of_the_answer_waits_until_the_slot_is_taken(self) -> None:
        play(
            [Request([[Note("a"), Dial()]]), RequestMore([[self.SLOT, Note("b")], [Note("c")]])],
            (ASKED, [(self.SLOT, "request-more")]),
            (
                SlotTaken(0.0, "s"),
                [(Note("a"), "request"), (Dial(), "request"), (Note("b"), "request-more"), (Note("c"), "request-more")],
            ),
        )

    def test_it_is_dropped_where_the_slot_is_denied(self) -> None:
        flow = play(
            [Request([[Grant(), Dial()]]), RequestMore([[self.SLOT], [Note("none left")]])],
            (ASKED, [self.SLOT]),
            (SlotDenied(0.0, "s"), [(Note("none left"), "request-more")]),
        )
        assert not flow.answered
        machine = FlowMachine([Request([[self.SLOT, Dial()]])])
        machine.handle(ASKED)
        machine.handle(SlotDenied(0.0, "request/s"))
        assert not machine.waits

    @pytest.mark.parametrize("denied", [False, True])
    def test_of_two_slots_both_are_waited_for(self, denied: bool) -> None:
        behaviours = [Request([[self.SLOT, Dial()]]), RequestMore([[self.SLOT]])]
        flow = play(behaviours, (ASKED, [self.SLOT, self.SLOT]), (SlotTaken(0.0, "request-more/s"), []))
        if denied:
            play(flow, (SlotDenied(0.0, "s"), []))
        else:
            play(flow, (SlotTaken(0.0, "s"), [Dial()]))

    def test_what_comes_meanwhile_does_not_wait(self) -> None:
        slot = TakeSlot("s", 1, wait=True)
        play(
            Request([[slot, Dial()], [Note("meanwhile")], []]),
            (ASKED, [slot]),
            (LinkWentDown(1.0), [Note("meanwhile")]),
            (SlotTaken(2.0, "s"), [Dial()]),
        )

    def test_an_initiator_that_goes_away_meanwhile_is_not_dialled_for(self) -> None:
        machine = FlowMachine([Request([[self.SLOT, Dial()]])])
        machine.handle(ASKED)
        assert machine.waits
        machine.handle(InitiatorVanished(1.0))
        assert machine.over
        assert machine.handle(SlotTaken(2.0, "request/s")) == []

    def test_only_the_behaviour_that_asked_hears_of_its_slot(self) -> None:
        both = [Request([[self.SLOT], [Note("mine")]]), RequestMore([[], [Note("not mine")]])]
        play(both, (ASKED, [self.SLOT]), (SlotTaken(0.0, "s"), [(Note("mine"), "request")]))


class TestWhoseRequest:
    def test_each_step_names_the_behaviour_behind_it_in_the_profiles_order(self) -> None:
        both = [Request([[Note("a"), Dial()]]), RequestMore([[Note("b")]])]
        play(both, (ASKED, [(Note("a"), "request"), (Dial(), "request"), (Note("b"), "request-more")]))

    def test_of_two_the_same_the_first_behaviours_counts(self) -> None:
        play([Request([[Dial()]]), RequestMore([[Dial()]])], (ASKED, [(Dial(), "request")]))

    def test_a_behaviour_is_prepared_once_before_it_is_first_asked(self) -> None:
        prepared: list[Behaviour] = []
        requested = Request([[Note("a")], [Note("b")]])
        machine = FlowMachine([requested], prepare=prepared.append)
        assert prepared == []
        for event in (ASKED, CONNECTED):
            machine.handle(event)
        assert prepared == [requested]

    def test_a_reset_behind_a_fin_leaves_no_fin(self) -> None:
        machine = connected([SendFin(INTERNAL), SendRst(INTERNAL)])
        assert machine.handle(LinkWentDown(1.0)) == [Step(SendRst(INTERNAL), "request")]

    @pytest.mark.parametrize("first", ["fin", "rst"])
    def test_of_a_fin_and_a_reset_for_one_side_the_reset_stays(self, first: str) -> None:
        fin, rst = [SendFin(INTERNAL), SendFin(EXTERNAL)], [SendRst(INTERNAL)]
        machine = FlowMachine(
            [Request([[Dial()], fin if first == "fin" else rst]), RequestMore([[], rst if first == "fin" else fin])]
        )
        machine.handle(ASKED)
        steps = machine.handle(CONNECTED)
        requester, other = ("request-more", "request") if first == "fin" else ("request", "request-more")
        assert sorted(steps, key=lambda step: step.because) == sorted(
            [Step(SendRst(INTERNAL), requester), Step(SendFin(EXTERNAL), other)], key=lambda step: step.because
        )
        assert machine.endings == {
            INTERNAL: Ending(INTERNAL, How.RST, requester),
            EXTERNAL: Ending(EXTERNAL, How.FIN, other),
        }

    @pytest.mark.parametrize(
        ("event", "how"), [(RstReceived(2.0, INTERNAL), How.RST), (LegTimedOut(2.0, INTERNAL), How.TIMEOUT)]
    )
    def test_what_kills_a_half_closed_side_is_its_ending(self, event: Event, how: How) -> None:
        machine = connected()
        machine.handle(FinReceived(1.0, INTERNAL))
        assert machine.endings[INTERNAL].how == "fin"
        machine.handle(event)
        assert machine.endings[INTERNAL] == Ending(INTERNAL, how, "peer")
        assert machine.cause == "internal-peer"

    def test_our_reset_of_a_half_closed_side_is_ours(self) -> None:
        machine = connected([SendFin(EXTERNAL)], [SendRst(INTERNAL)])
        machine.handle(FinReceived(1.0, INTERNAL))
        machine.handle(LinkWentDown(2.0))
        assert machine.endings[INTERNAL] == Ending(INTERNAL, How.RST, "request")

    def test_the_answer_to_our_reset_is_not_the_ending(self) -> None:
        machine = connected([SendRst(INTERNAL)])
        machine.handle(LinkWentDown(1.0))
        machine.handle(RstReceived(1.1, INTERNAL))
        assert machine.endings[INTERNAL] == Ending(INTERNAL, How.RST, "request")

    def test_a_reset_after_both_fins_changes_nothing(self) -> None:
        machine = connected([SendFin(INTERNAL)])
        machine.handle(FinReceived(1.0, INTERNAL))
        assert machine.is_over(INTERNAL)
        machine.handle(RstReceived(1.1, INTERNAL))
        assert machine.endings[INTERNAL] == Ending(INTERNAL, How.FIN, "peer")


class TestRequestsThatComeTooLate:
    """Dropped silently: a behaviour need not know what others, or the peers, did before."""

    @pytest.mark.parametrize(
        ("before", "requested"),
        [
            ([SendFin(INTERNAL)], SendFin(INTERNAL)),
            ([SendRst(INTERNAL)], SendFin(INTERNAL)),
            ([SendRst(INTERNAL)], SendRst(INTERNAL, after_data=True)),
            ([SendRst(INTERNAL)], Blackhole(INTERNAL, 1.0)),
            ([SendRst(INTERNAL)], SetKeepalive(INTERNAL, 1, 1, 1)),
            ([SendRst(INTERNAL)], Probe(INTERNAL, 1)),
            ([SendRst(INTERNAL)], AnswerProbe(INTERNAL)),
            ([SendRst(INTERNAL)], LimitWindow(INTERNAL, 1)),
            ([Blackhole(INTERNAL, 1.0)], SendFin(INTERNAL)),
            ([Blackhole(INTERNAL, 1.0)], SendRst(INTERNAL)),
            ([], Grant()),
            ([], Refuse(REFUSED)),
            ([], Dial()),
            ([], AbandonDial()),
        ],
    )
    def test_after_what_was_done(self, before: list[Action], requested: Action) -> None:
        machine = connected(before, [requested, Note("still asked")])
        assert machine.handle(LinkWentDown(1.0)) == [Step(action, "request") for action in before]
        assert machine.handle(LinkWentDown(2.0)) == [Step(Note("still asked"), "request")]

    @pytest.mark.parametrize("ended_by", [RstReceived(1.0, EXTERNAL), LegTimedOut(1.0, EXTERNAL)])
    @pytest.mark.parametrize(
        "requested",
        [
            SendFin(EXTERNAL),
            SendRst(EXTERNAL),
            Blackhole(EXTERNAL, 1.0),
            SetKeepalive(EXTERNAL, 1, 1, 1),
            Probe(EXTERNAL, 1),
            AnswerProbe(EXTERNAL),
            LimitWindow(EXTERNAL, 1),
        ],
    )
    def test_after_the_peer_was_gone(self, ended_by: Event, requested: Action) -> None:
        assert connected([requested]).handle(ended_by) == []

    @pytest.mark.parametrize(
        "requested", [SendFin(EXTERNAL), SendRst(EXTERNAL), Blackhole(EXTERNAL, 1.0), SetKeepalive(EXTERNAL, 1, 1, 1)]
    )
    def test_or_before_there_was_anyone(self, requested: Action) -> None:
        assert requesting([Dial(), requested]).handle(ASKED) == [Step(Dial(), "request")]

    @pytest.mark.parametrize("requested", [Grant(), Refuse(REFUSED), SendFin(INTERNAL), Dial()])
    def test_after_the_initiator_had_vanished(self, requested: Action) -> None:
        machine = requesting([], [requested])
        machine.handle(ASKED)
        assert machine.handle(InitiatorVanished(0.1)) == []
        assert machine.over

    def test_a_second_dial_is_possible_only_when_the_first_has_failed(self) -> None:
        play(
            Request([[Dial(), Dial()], [Dial()], [Dial(), Grant()], [Dial()]]),
            (ASKED, [(Dial(), "request")]),
            (DialFailed(0.2, REFUSED), [(Dial(), "request")]),
            (CONNECTED, [(Grant(), "request")]),
            (LinkWentDown(1.0), []),
        )

    def test_probes_and_limits_reach_a_side_that_is_up(self) -> None:
        requests: list[Action] = [SetKeepalive(EXTERNAL, 75, 75, 9), Probe(EXTERNAL, 2), AnswerProbe(INTERNAL)]
        requests.append(LimitWindow(INTERNAL, 64_240))
        assert connected(requests).handle(LinkWentDown(1.0)) == [Step(requested, "request") for requested in requests]


class TestTimers:
    def test_only_the_behaviour_that_started_it_sees_it_and_under_its_own_key(self) -> None:
        one, two = Request([[Note("mine")]]), RequestMore([[Note("not mine")]])
        assert FlowMachine([one, two]).handle(TimerFired(1.0, "request/a/b")) == [Step(Note("mine"), "request")]
        assert (one.seen, two.seen) == ([TimerFired(1.0, "a/b")], [])

    def test_a_name_that_begins_like_another_is_another(self) -> None:
        one, two = Request(), RequestMore()
        FlowMachine([one, two]).handle(TimerFired(1.0, "request-more/a"))
        assert (one.seen, two.seen) == ([], [TimerFired(1.0, "a")])


class TestABehaviourFails:
    @dataclass
    class Broken(Behaviour):
        def on_dial_succeeded(self, event: DialSucceeded) -> Actions:
            yield SendRst(INTERNAL)
            raise KeyError("oops")

        def on_probe_arrived(self, event: ProbeArrived) -> Actions:
            return None  # type: ignore[return-value]

    def test_the_error_names_it_and_nothing_of_its_answer_is_done(self) -> None:
        machine = FlowMachine([PrecompleteHandshake(), self.Broken()])
        machine.handle(ASKED)
        with pytest.raises(
            BehaviourError, match="behaviour 'broken' failed on DialSucceeded: KeyError: 'oops'"
        ) as caught:
            machine.handle(CONNECTED)
        assert isinstance(caught.value.__cause__, KeyError)
        assert not machine.answered
        assert machine.end("fault") == [Step(SendRst(INTERNAL), "fault"), Step(SendRst(EXTERNAL), "fault")]
        assert machine.over

    def test_an_answer_that_is_no_list_of_actions_is_its_fault_too(self) -> None:
        with pytest.raises(BehaviourError, match="behaviour 'broken' failed on ProbeArrived: TypeError"):
            FlowMachine([self.Broken()]).handle(ProbeArrived(1.0, INTERNAL))

    def test_events_without_a_handler_pass_it_by(self) -> None:
        assert FlowMachine([self.Broken()]).handle(LinkWentDown(1.0)) == []


class TestGivingUp:
    def test_a_connection_without_a_dial_brings_nothing_back_to_life(self) -> None:
        machine = requesting()
        machine.end("shutdown")
        assert machine.handle(CONNECTED) == []
        assert machine.over

    def test_before_the_dial_only_the_initiator_is_there_to_be_reset(self) -> None:
        machine = FlowMachine(lockstep())
        assert machine.end("shutdown") == [Step(SendRst(INTERNAL), "shutdown")]
        assert machine.over

    def test_during_the_dial_it_is_abandoned(self) -> None:
        machine = FlowMachine(lockstep())
        assert machine.handle(ASKED) == [Step(Dial(), "precomplete-handshake")]
        assert machine.end("shutdown") == [Step(AbandonDial(), "shutdown"), Step(SendRst(INTERNAL), "shutdown")]
        assert machine.over

    def test_both_sides_are_reset_and_the_reason_stays(self) -> None:
        machine = connected()
        assert machine.end("shutdown") == [Step(SendRst(INTERNAL), "shutdown"), Step(SendRst(EXTERNAL), "shutdown")]
        assert machine.over
        assert machine.cause == "shutdown"
        assert machine.endings == {side: Ending(side, How.RST, "shutdown") for side in Side}

    def test_what_is_over_is_left_alone(self) -> None:
        machine = connected()
        machine.handle(RstReceived(1.0, EXTERNAL))
        assert machine.end("shutdown") == [Step(SendRst(INTERNAL), "shutdown")]
        assert machine.end("shutdown") == []
        assert machine.endings[EXTERNAL] == Ending(EXTERNAL, How.RST, "peer")
        assert machine.cause == "external-peer"
