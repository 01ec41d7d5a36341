"""The flow machine, as playbooks: an event in, and the steps that come out, compared whole with whose wish they were.

The behaviours here are those of the relay where a life of a flow is told, and small ones of the tests' own, which wish
for whatever they are given, where the machine's own rules are at stake.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import pytest

from relay.actions import (
    AbandonDial,
    Action,
    Deafen,
    Dial,
    Grant,
    LimitBuffer,
    Note,
    Refuse,
    ReportLoss,
    SendFin,
    SendProbes,
    SendRst,
    StartTimer,
)
from relay.address import Endpoint
from relay.behaviours import Actions, Behaviour
from relay.behaviours.close_mapping import CloseMapping
from relay.behaviours.link_down_reset import LinkDownReset
from relay.behaviours.local_ack import LocalAck
from relay.behaviours.precomplete_handshake import PrecompleteHandshake
from relay.behaviours.tos_reset import TosReset
from relay.errors import BehaviourError
from relay.events import (
    ConnectRequested,
    DialFailed,
    DialFailure,
    DialSucceeded,
    Ending,
    Event,
    FailureKind,
    FinReceived,
    LegTimedOut,
    LinkWentDown,
    OpenerVanished,
    ProbeArrived,
    RstReceived,
    Side,
    TimerFired,
    TosChanged,
)
from relay.flow import FlowMachine, Step

INTERNAL, EXTERNAL = Side
REFUSED = DialFailure(FailureKind.REFUSED)
ASKED = ConnectRequested(0.0, Endpoint("192.0.2.1", 22), INTERNAL)
CONNECTED = DialSucceeded(0.2)
MARKED = TosChanged(1.0, INTERNAL, syn=0, old=0, new=0x48)

Line = tuple[Event, list[tuple[Action, str]]]


def play(machine: FlowMachine, *playbook: Line) -> FlowMachine:
    for event, steps in playbook:
        assert machine.handle(event) == [Step(*step) for step in steps], event
    return machine


def lockstep() -> list[Behaviour]:
    return [PrecompleteHandshake(order="lockstep"), CloseMapping()]


def vmware() -> list[Behaviour]:
    return [PrecompleteHandshake(), CloseMapping(internal_rst="fin"), LocalAck(), TosReset(), LinkDownReset()]


@dataclass
class Wish(Behaviour):
    """Wishes for the first of the given answers at the first event, and so on."""

    answers: Sequence[Sequence[Action]] = ()
    seen: list[Event] = field(default_factory=list)

    def _answer(self, event: Event) -> Actions:
        self.seen.append(event)
        return self.answers[len(self.seen) - 1] if len(self.seen) <= len(self.answers) else ()

    on_connect_requested = on_dial_succeeded = on_dial_failed = on_opener_vanished = _answer
    on_tos_changed = on_fin_received = on_rst_received = on_leg_timed_out = on_timer_fired = on_link_went_down = _answer


@dataclass
class WishMore(Wish):
    """The same, by another name."""


def wishing(*answers: Sequence[Action]) -> FlowMachine:
    return FlowMachine([Wish(answers)])


def connected(*answers: Sequence[Action]) -> FlowMachine:
    """A machine with both sides up, whose only behaviour will answer so from now on."""
    machine = wishing([Dial()], [Grant()], *answers)
    assert [step.action for step in machine.handle(ASKED) + machine.handle(CONNECTED)] == [Dial(), Grant()]
    return machine


class TestLives:
    """From the first event to the last."""

    def test_both_sides_say_goodbye(self) -> None:
        machine = play(
            FlowMachine(lockstep()),
            (ASKED, [(Dial(), "precomplete-handshake")]),
            (CONNECTED, [(Grant(), "precomplete-handshake")]),
            (FinReceived(1.0, INTERNAL), [(SendFin(EXTERNAL), "close-mapping")]),
        )
        assert not machine.over
        assert machine.can_send(INTERNAL)
        assert not machine.can_send(EXTERNAL)
        play(machine, (FinReceived(2.0, EXTERNAL), [(SendFin(INTERNAL), "close-mapping")]))
        assert machine.over
        assert machine.cause == "internal-peer"
        assert machine.endings == {
            INTERNAL: Ending(INTERNAL, "fin", "peer"),
            EXTERNAL: Ending(EXTERNAL, "fin", "close-mapping"),
        }

    def test_a_half_close_that_is_to_close_all_leaves_only_the_servers_fin_to_come(self) -> None:
        machine = play(
            FlowMachine([PrecompleteHandshake(), CloseMapping(half_close="close")]),
            (ASKED, [(Dial(), "precomplete-handshake")]),
            (CONNECTED, [(Grant(), "precomplete-handshake")]),
            (
                FinReceived(1.0, INTERNAL),
                [(SendFin(EXTERNAL), "close-mapping"), (SendFin(INTERNAL), "close-mapping")],
            ),
        )
        assert machine.is_over(INTERNAL)
        assert not machine.is_over(EXTERNAL)
        assert play(machine, (FinReceived(1.2, EXTERNAL), [])).over

    def test_the_server_refuses(self) -> None:
        machine = play(
            FlowMachine(lockstep()),
            (ASKED, [(Dial(), "precomplete-handshake")]),
            (DialFailed(0.2, REFUSED), [(Refuse(REFUSED), "precomplete-handshake")]),
        )
        assert machine.over
        assert machine.answered
        assert machine.cause == "destination"
        assert machine.endings == {INTERNAL: Ending(INTERNAL, "refused", "precomplete-handshake")}

    def test_the_app_vanishes_in_lockstep_and_the_server_never_knows(self) -> None:
        machine = play(
            FlowMachine(lockstep()),
            (ASKED, [(Dial(), "precomplete-handshake")]),
            (OpenerVanished(0.1), [(AbandonDial(), "precomplete-handshake")]),
        )
        assert machine.over
        assert not machine.answered
        assert machine.endings == {INTERNAL: Ending(INTERNAL, "abandoned", "peer")}

    def test_the_app_vanishes_and_the_server_still_sees_a_connection_then_a_fin(self) -> None:
        machine = play(
            FlowMachine(vmware()),
            (ASKED, [(Dial(), "precomplete-handshake")]),
            (OpenerVanished(0.1), []),
        )
        assert not machine.over
        play(machine, (CONNECTED, [(SendFin(EXTERNAL), "precomplete-handshake")]))
        assert not machine.over
        assert play(machine, (FinReceived(0.4, EXTERNAL), [])).over

    def test_the_app_vanishes_and_the_server_refuses_nobody(self) -> None:
        machine = play(
            FlowMachine(vmware()),
            (ASKED, [(Dial(), "precomplete-handshake")]),
            (OpenerVanished(0.1), []),
            (DialFailed(0.2, REFUSED), []),
        )
        assert machine.over

    def test_the_app_is_granted_before_the_dial_and_reset_when_it_fails(self) -> None:
        machine = play(
            FlowMachine([PrecompleteHandshake(order="internal-first")]),
            (ASKED, [(Grant(), "precomplete-handshake"), (Dial(), "precomplete-handshake")]),
            (DialFailed(0.2, REFUSED), [(SendRst(INTERNAL), "precomplete-handshake")]),
        )
        assert machine.over
        assert machine.endings == {INTERNAL: Ending(INTERNAL, "rst", "precomplete-handshake")}

    def test_ssh_marks_a_segment_and_dies_as_behind_vmware(self) -> None:
        machine = play(
            FlowMachine(vmware()),
            (ASKED, [(Dial(), "precomplete-handshake")]),
            (CONNECTED, [(Grant(), "precomplete-handshake")]),
            (MARKED, [(SendRst(INTERNAL), "tos-reset"), (StartTimer("external-close", 0.105), "tos-reset")]),
        )
        assert machine.is_over(INTERNAL)
        assert not machine.over
        play(
            machine,
            (TimerFired(1.105, "tos-reset/external-close"), [(SendFin(EXTERNAL), "tos-reset")]),
            (FinReceived(1.32, EXTERNAL), []),
        )
        assert machine.over
        assert machine.cause == "tos-reset"
        assert machine.endings == {
            INTERNAL: Ending(INTERNAL, "rst", "tos-reset"),
            EXTERNAL: Ending(EXTERNAL, "fin", "tos-reset"),
        }

    def test_a_server_that_resets_takes_the_app_with_it_and_the_loss_is_told(self) -> None:
        machine = play(
            FlowMachine(vmware()),
            (ASKED, [(Dial(), "precomplete-handshake")]),
            (CONNECTED, [(Grant(), "precomplete-handshake")]),
            (
                RstReceived(1.0, EXTERNAL, unacked_bytes=7),
                [(SendRst(INTERNAL, after_data=True), "close-mapping"), (ReportLoss(7), "local-ack")],
            ),
        )
        assert machine.over
        assert machine.cause == "external-peer"
        assert machine.endings[INTERNAL] == Ending(INTERNAL, "rst", "close-mapping")

    def test_a_server_found_dead_is_silence_to_the_app(self) -> None:
        machine = play(
            FlowMachine([PrecompleteHandshake(), CloseMapping(timed_out="silence", silence_s=5)]),
            (ASKED, [(Dial(), "precomplete-handshake")]),
            (CONNECTED, [(Grant(), "precomplete-handshake")]),
            (LegTimedOut(9.0, EXTERNAL), [(Deafen(INTERNAL, at_most_s=5), "close-mapping")]),
        )
        assert machine.over
        assert machine.endings == {
            EXTERNAL: Ending(EXTERNAL, "timeout", "peer"),
            INTERNAL: Ending(INTERNAL, "silence", "close-mapping"),
        }

    def test_an_inbound_flow_is_opened_from_the_external_side(self) -> None:
        machine = FlowMachine([PrecompleteHandshake(), CloseMapping(), TosReset()], opener=EXTERNAL)
        assert machine.is_over(INTERNAL)
        assert not machine.is_over(EXTERNAL)
        play(
            machine,
            (ConnectRequested(0.0, Endpoint("192.0.2.1", 22), EXTERNAL), [(Dial(), "precomplete-handshake")]),
            (CONNECTED, [(Grant(), "precomplete-handshake")]),
            (MARKED, [(SendRst(INTERNAL), "tos-reset"), (StartTimer("external-close", 0.105), "tos-reset")]),
        )
        assert machine.opener is EXTERNAL


class TestTheOpenerGoesWhileTheDialIsUnderWay:
    """Whoever ends it, the behaviours hear that it is gone, so that the dial is not left to nobody."""

    @pytest.mark.parametrize(
        ("order", "answer"),
        [("lockstep", [(AbandonDial(), "precomplete-handshake")]), ("external-first", [])],
    )
    def test_by_our_own_reset_before_it_was_answered(self, order: str, answer: list[tuple[Action, str]]) -> None:
        play(
            FlowMachine([PrecompleteHandshake(order=order), LinkDownReset()]),
            (ASKED, [(Dial(), "precomplete-handshake")]),
            (LinkWentDown(0.1), [(SendRst(INTERNAL), "link-down-reset"), *answer]),
        )

    def test_by_our_own_reset_after_it_was_granted(self) -> None:
        machine = play(
            FlowMachine([PrecompleteHandshake(order="internal-first"), LinkDownReset()]),
            (ASKED, [(Grant(), "precomplete-handshake"), (Dial(), "precomplete-handshake")]),
            (LinkWentDown(0.1), [(SendRst(INTERNAL), "link-down-reset")]),
            (CONNECTED, [(SendFin(EXTERNAL), "precomplete-handshake")]),
            (FinReceived(0.4, EXTERNAL), []),
        )
        assert machine.over
        assert machine.endings[INTERNAL] == Ending(INTERNAL, "rst", "link-down-reset")

    def test_by_its_own_reset_after_it_was_granted(self) -> None:
        machine = play(
            FlowMachine([PrecompleteHandshake(order="internal-first"), CloseMapping()]),
            (ASKED, [(Grant(), "precomplete-handshake"), (Dial(), "precomplete-handshake")]),
            (RstReceived(0.1, INTERNAL), []),
            (CONNECTED, [(SendFin(EXTERNAL), "precomplete-handshake")]),
            (FinReceived(0.4, EXTERNAL), []),
        )
        assert machine.over
        assert machine.endings[INTERNAL] == Ending(INTERNAL, "rst", "peer")

    def test_by_another_behaviours_refusal(self) -> None:
        handshake, refusal = "precomplete-handshake", (Refuse(REFUSED), "wish")
        machine = play(
            FlowMachine([PrecompleteHandshake(order="lockstep"), Wish([[Refuse(REFUSED)]])]),
            (ASKED, [(Dial(), handshake), refusal, (AbandonDial(), handshake)]),
        )
        assert machine.over
        assert machine.endings == {INTERNAL: Ending(INTERNAL, "refused", "wish")}

    def test_a_refusal_that_comes_first_leaves_nothing_to_dial_for(self) -> None:
        machine = play(
            FlowMachine([Wish([[Refuse(REFUSED)]]), PrecompleteHandshake()]), (ASKED, [(Refuse(REFUSED), "wish")])
        )
        assert machine.over

    def test_it_is_told_once(self) -> None:
        wish = Wish([[Dial()]])
        machine = FlowMachine([wish])
        for event in (ASKED, OpenerVanished(0.1), RstReceived(0.1, INTERNAL), LinkWentDown(0.15)):
            machine.handle(event)
        assert [type(event) for event in wish.seen].count(OpenerVanished) == 1


class TestWhoseWish:
    def test_each_step_names_the_behaviour_behind_it_in_the_profiles_order(self) -> None:
        machine = FlowMachine([Wish([[Note("a"), Dial()]]), WishMore([[Note("b")]])])
        play(machine, (ASKED, [(Note("a"), "wish"), (Dial(), "wish"), (Note("b"), "wish-more")]))

    def test_of_two_the_same_the_first_behaviours_counts(self) -> None:
        machine = FlowMachine([Wish([[Dial()]]), WishMore([[Dial()]])])
        play(machine, (ASKED, [(Dial(), "wish")]))

    @pytest.mark.parametrize("first", ["fin", "rst"])
    def test_of_a_fin_and_a_reset_for_one_side_the_reset_stays(self, first: str) -> None:
        fin, rst = [SendFin(INTERNAL), SendFin(EXTERNAL)], [SendRst(INTERNAL)]
        machine = FlowMachine(
            [Wish([[Dial()], fin if first == "fin" else rst]), WishMore([[], rst if first == "fin" else fin])]
        )
        machine.handle(ASKED)
        steps = machine.handle(CONNECTED)
        wisher, other = ("wish-more", "wish") if first == "fin" else ("wish", "wish-more")
        assert sorted(steps, key=lambda step: step.because) == sorted(
            [Step(SendRst(INTERNAL), wisher), Step(SendFin(EXTERNAL), other)], key=lambda step: step.because
        )
        assert machine.endings == {
            INTERNAL: Ending(INTERNAL, "rst", wisher),
            EXTERNAL: Ending(EXTERNAL, "fin", other),
        }

    @pytest.mark.parametrize(
        ("event", "how"), [(RstReceived(2.0, INTERNAL), "rst"), (LegTimedOut(2.0, INTERNAL), "timeout")]
    )
    def test_what_kills_a_half_closed_side_is_its_ending(self, event: Event, how: str) -> None:
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
        assert machine.endings[INTERNAL] == Ending(INTERNAL, "rst", "wish")

    def test_the_answer_to_our_reset_is_not_the_ending(self) -> None:
        machine = connected([SendRst(INTERNAL)])
        machine.handle(LinkWentDown(1.0))
        machine.handle(RstReceived(1.1, INTERNAL))
        assert machine.endings[INTERNAL] == Ending(INTERNAL, "rst", "wish")

    def test_a_reset_after_both_fins_changes_nothing(self) -> None:
        machine = connected([SendFin(INTERNAL)])
        machine.handle(FinReceived(1.0, INTERNAL))
        assert machine.is_over(INTERNAL)
        machine.handle(RstReceived(1.1, INTERNAL))
        assert machine.endings[INTERNAL] == Ending(INTERNAL, "fin", "peer")


class TestWishesThatComeTooLate:
    """Dropped without a word: a behaviour need not know what others, or the peers, did before."""

    @pytest.mark.parametrize(
        ("before", "wish"),
        [
            ([SendFin(INTERNAL)], SendFin(INTERNAL)),
            ([SendRst(INTERNAL)], SendFin(INTERNAL)),
            ([SendRst(INTERNAL)], SendRst(INTERNAL, after_data=True)),
            ([SendRst(INTERNAL)], Deafen(INTERNAL, 1.0)),
            ([SendRst(INTERNAL)], SendProbes(INTERNAL, 1, 1, 1)),
            ([SendRst(INTERNAL)], LimitBuffer(INTERNAL, 1)),
            ([Deafen(INTERNAL, 1.0)], SendFin(INTERNAL)),
            ([Deafen(INTERNAL, 1.0)], SendRst(INTERNAL)),
            ([], Grant()),
            ([], Refuse(REFUSED)),
            ([], Dial()),
            ([], AbandonDial()),
        ],
    )
    def test_after_what_was_done(self, before: list[Action], wish: Action) -> None:
        machine = connected(before, [wish, Note("still asked")])
        assert machine.handle(LinkWentDown(1.0)) == [Step(action, "wish") for action in before]
        assert machine.handle(LinkWentDown(2.0)) == [Step(Note("still asked"), "wish")]

    @pytest.mark.parametrize("ended_by", [RstReceived(1.0, EXTERNAL), LegTimedOut(1.0, EXTERNAL)])
    @pytest.mark.parametrize(
        "wish",
        [
            SendFin(EXTERNAL),
            SendRst(EXTERNAL),
            Deafen(EXTERNAL, 1.0),
            SendProbes(EXTERNAL, 1, 1, 1),
            LimitBuffer(EXTERNAL, 1),
        ],
    )
    def test_after_the_peer_was_gone(self, ended_by: Event, wish: Action) -> None:
        assert connected([wish]).handle(ended_by) == []

    @pytest.mark.parametrize(
        "wish", [SendFin(EXTERNAL), SendRst(EXTERNAL), Deafen(EXTERNAL, 1.0), SendProbes(EXTERNAL, 1, 1, 1)]
    )
    def test_or_before_there_was_anyone(self, wish: Action) -> None:
        assert wishing([Dial(), wish]).handle(ASKED) == [Step(Dial(), "wish")]

    @pytest.mark.parametrize("wish", [Grant(), Refuse(REFUSED), SendFin(INTERNAL), Dial()])
    def test_after_the_opener_had_vanished(self, wish: Action) -> None:
        machine = wishing([], [wish])
        machine.handle(ASKED)
        assert machine.handle(OpenerVanished(0.1)) == []
        assert machine.over

    def test_a_second_dial_is_possible_only_when_the_first_has_failed(self) -> None:
        play(
            wishing([Dial(), Dial()], [Dial()], [Dial(), Grant()], [Dial()]),
            (ASKED, [(Dial(), "wish")]),
            (DialFailed(0.2, REFUSED), [(Dial(), "wish")]),
            (CONNECTED, [(Grant(), "wish")]),
            (LinkWentDown(1.0), []),
        )

    def test_probes_and_limits_reach_a_side_that_is_up(self) -> None:
        wishes: list[Action] = [SendProbes(EXTERNAL, 75, 75, 9), LimitBuffer(INTERNAL, 64_240)]
        assert connected(wishes).handle(LinkWentDown(1.0)) == [Step(wish, "wish") for wish in wishes]


class TestTimers:
    def test_only_the_behaviour_that_started_it_sees_it_and_under_its_own_key(self) -> None:
        one, two = Wish([[Note("mine")]]), WishMore([[Note("not mine")]])
        assert FlowMachine([one, two]).handle(TimerFired(1.0, "wish/a/b")) == [Step(Note("mine"), "wish")]
        assert (one.seen, two.seen) == ([TimerFired(1.0, "a/b")], [])

    def test_a_name_that_begins_like_another_is_another(self) -> None:
        one, two = Wish(), WishMore()
        FlowMachine([one, two]).handle(TimerFired(1.0, "wish-more/a"))
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
    def test_before_the_dial_only_the_opener_is_there_to_be_reset(self) -> None:
        machine = FlowMachine(lockstep())
        assert machine.end("shutdown") == [Step(SendRst(INTERNAL), "shutdown")]
        assert machine.over

    def test_during_the_dial_it_is_abandoned(self) -> None:
        machine = play(FlowMachine(lockstep()), (ASKED, [(Dial(), "precomplete-handshake")]))
        assert machine.end("shutdown") == [Step(AbandonDial(), "shutdown"), Step(SendRst(INTERNAL), "shutdown")]
        assert machine.over

    def test_both_sides_are_reset_and_the_reason_stays(self) -> None:
        machine = connected()
        assert machine.end("shutdown") == [Step(SendRst(INTERNAL), "shutdown"), Step(SendRst(EXTERNAL), "shutdown")]
        assert machine.over
        assert machine.cause == "shutdown"
        assert machine.endings == {side: Ending(side, "rst", "shutdown") for side in Side}

    def test_what_is_over_is_left_alone(self) -> None:
        machine = connected()
        machine.handle(RstReceived(1.0, EXTERNAL))
        assert machine.end("shutdown") == [Step(SendRst(INTERNAL), "shutdown")]
        assert machine.end("shutdown") == []
        assert machine.endings[EXTERNAL] == Ending(EXTERNAL, "rst", "peer")
        assert machine.cause == "external-peer"
