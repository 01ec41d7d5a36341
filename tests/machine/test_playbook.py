"""The public playbook: it passes what holds, says plainly what does not, and rejects what cannot happen."""

from __future__ import annotations

from dataclasses import dataclass

import pytest

from machine.requesting import ASKED, CONNECTED, EXTERNAL, INTERNAL, MARKED, Request, RequestMore
from relay.actions import Dial, Grant, Note, SendFin, SendRst, StartTimer, TakeSlot
from relay.behaviours import Actions, Behaviour
from relay.behaviours.close_mapping import CloseMapping
from relay.behaviours.tos_reset import TosReset
from relay.errors import BehaviourError, ConfigError
from relay.events import (
    ConnectRequested,
    DialSucceeded,
    FinReceived,
    LinkWentDown,
    RstReceived,
    SlotDenied,
    SlotTaken,
    TimerFired,
)
from relay.profiles import load_profile
from relay.testing.playbook import ExpectedStep, Line, Playbook, connected, play

KILL: list[ExpectedStep] = [SendRst(INTERNAL), StartTimer("external-close", 0.105)]


@dataclass
class Dice(Behaviour):
    draws = True

    def on_dial_succeeded(self, event: DialSucceeded) -> Actions:
        yield Note(f"{self.chance()} {self.chance()}")


def message_of(subject: Playbook | Behaviour | list[Behaviour], *lines: Line) -> str:
    with pytest.raises(AssertionError) as failed:
        play(subject, *lines)
    return str(failed.value)


def started_anew() -> Playbook:
    """A flow with a timer of 1 s that was started at 0 s and at 0.9 s."""
    started: list[ExpectedStep] = [StartTimer("t", 1.0)]
    return play(
        Request([[StartTimer("t", 1.0)], [StartTimer("t", 1.0)], [Note("now")]]),
        (LinkWentDown(0.0), started),
        (LinkWentDown(0.9), started),
    )


def test_a_side_may_be_named_in_either_vocabulary() -> None:
    flow = play(connected(TosReset()), (MARKED, KILL))
    for app, server in (("app", "server"), ("internal", "external")):
        assert (flow.is_over(app), flow.is_over(server)) == (True, False)  # type: ignore[arg-type]
        assert (flow.can_send(app), flow.can_send(server)) == (False, True)  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="is_over: there is no side 'left'"):
        flow.is_over("left")  # type: ignore[arg-type]


def test_a_flow_goes_on_where_it_was() -> None:
    flow = play(connected(TosReset()), (MARKED, KILL))
    assert flow.is_over(INTERNAL)
    assert not flow.over
    assert flow.play((TimerFired(1.105, "external-close"), [SendFin(EXTERNAL)]), (FinReceived(1.3, EXTERNAL), [])).over
    assert flow.cause == "tos-reset"
    assert flow.endings[EXTERNAL].how == "fin"


def test_a_profile_is_played_with_its_settings() -> None:
    profile = load_profile("transparent", ["tos-reset.external_close_delay_ms=0"])
    play(
        profile,
        (ASKED, [Dial()]),
        (CONNECTED, [Grant()]),
        (MARKED, [(SendRst(INTERNAL), "tos-reset"), (StartTimer("external-close", 0.0), "tos-reset")]),
    )


@pytest.mark.parametrize("initiator", [INTERNAL, EXTERNAL])
def test_the_first_event_says_who_the_initiator_is(initiator: object) -> None:
    asked = ConnectRequested(0.0, ASKED.destination, EXTERNAL if initiator is EXTERNAL else INTERNAL)
    flow = play(Request([[Dial()]]), (asked, [Dial()]))
    assert flow.initiator is initiator
    assert [flow.is_over(INTERNAL), flow.is_over(EXTERNAL)] == [initiator is EXTERNAL, initiator is INTERNAL]


def test_connected_leaves_both_sides_up_at_0_s() -> None:
    flow = connected(CloseMapping())
    assert flow.answered
    assert flow.can_send(INTERNAL)
    assert flow.can_send(EXTERNAL)
    assert "time goes back" in message_of(flow, (LinkWentDown(-0.1), []))


def test_connected_compares_what_the_behaviours_do_at_once() -> None:
    connected(Dice(), steps=[Note("0.25 0.5")], chance=[0.25, 0.5])
    with pytest.raises(AssertionError, match="other steps than expected"):
        connected(Dice(), chance=[0.25, 0.5])


def test_the_message_names_the_event_and_shows_both_lists() -> None:
    message = message_of(
        connected(TosReset(), CloseMapping()),
        (MARKED, [SendRst(INTERNAL), (StartTimer("external-close", 0.1), "tos-reset"), SendFin(EXTERNAL)]),
    )
    assert message == (
        "line 3 of the playbook, TosChanged(at_s=1.0, side=Side.INTERNAL, syn=0, old=0, new=72): "
        "other steps than expected\n"
        "expected:\n"
        "   SendRst(side=Side.INTERNAL, after_data=False)\n"
        " > StartTimer(key='external-close', after_s=0.1), by tos-reset\n"
        " > SendFin(side=Side.EXTERNAL)\n"
        "came out:\n"
        "   SendRst(side=Side.INTERNAL, after_data=False), by tos-reset\n"
        " > StartTimer(key='external-close', after_s=0.105), by tos-reset"
    )


@pytest.mark.parametrize(
    ("steps", "told"),
    [
        ([], "expected:\n > nothing\ncame out:\n > SendFin(side=Side.EXTERNAL), by close-mapping"),
        ([(SendFin(EXTERNAL), "local-ack")], " > SendFin(side=Side.EXTERNAL), by local-ack\n"),
    ],
    ids=["one more", "another behaviour's"],
)
def test_a_step_too_many_and_one_of_another_behaviour_are_other_steps(steps: list[ExpectedStep], told: str) -> None:
    assert told in message_of(connected(CloseMapping()), (FinReceived(1.0, INTERNAL), steps))


def test_the_order_counts() -> None:
    in_order: list[ExpectedStep] = [Note("a"), Note("b")]
    play(Request([[Note("a"), Note("b")]]), (LinkWentDown(1.0), in_order))
    assert "other steps" in message_of(Request([[Note("a"), Note("b")]]), (LinkWentDown(1.0), in_order[::-1]))


def test_a_dropped_action_is_explained() -> None:
    message = message_of(Request([[SendFin(EXTERNAL)]]), (LinkWentDown(1.0), [SendFin(EXTERNAL)]))
    assert message.endswith(
        "came out:\n > nothing\n"
        "The external side was over, or not connected yet: an action on it is dropped (see connected)."
    )


class TestTimers:
    def test_of_two_with_one_key_the_name_says_which(self) -> None:
        both = [Request([[StartTimer("t", 1.0)], [Note("a")]]), RequestMore([[StartTimer("t", 1.0)], [Note("b")]])]
        flow = play(both, (LinkWentDown(0.0), [StartTimer("t", 1.0), StartTimer("t", 1.0)]))
        fired = message_of(flow, (TimerFired(1.0, "t"), []))
        assert "several behaviours have such a timer; name one: 'request/t', 'request-more/t'" in fired
        play(flow, (TimerFired(1.0, "request-more/t"), [Note("b")]), (TimerFired(1.0, "t"), [Note("a")]))

    @pytest.mark.parametrize("fires_at_s", [1.9, 2.5])
    def test_one_that_starts_anew_fires_at_the_new_time_or_late(self, fires_at_s: float) -> None:
        play(started_anew(), (TimerFired(fires_at_s, "t"), [Note("now")]))

    def test_it_does_not_fire_at_the_former_time(self) -> None:
        assert "the timer fires at 1.9 s, not before" in message_of(started_anew(), (TimerFired(1.0, "t"), []))

    @pytest.mark.parametrize(
        ("line", "told"),
        [
            (
                (TimerFired(1.0, "u"), []),
                "TimerFired(at_s=1.0, key='u'): no such timer is running; there are: 'request/t'",
            ),
            ((TimerFired(0.9, "t"), []), "the timer fires at 1 s, not before"),
            ((LinkWentDown(1.1), []), "the timer 'request/t' fires before, at 1 s: give it a line of its own"),
        ],
    )
    def test_what_cannot_happen_is_rejected(self, line: Line, told: str) -> None:
        flow = play(Request([[StartTimer("t", 1.0)]]), (LinkWentDown(0.0), [StartTimer("t", 1.0)]))
        assert told in message_of(flow, line)

    def test_none_outlives_its_flow(self) -> None:
        flow = play(
            connected(Request([[], [], [StartTimer("t", 1.0)], [SendRst(EXTERNAL)]])),
            (LinkWentDown(0.0), [StartTimer("t", 1.0)]),
            (RstReceived(0.5, INTERNAL), [SendRst(EXTERNAL)]),
            (LinkWentDown(2.0), []),
        )
        assert "no such timer is running; there are: none" in message_of(flow, (TimerFired(3.0, "t"), []))


class TestSlots:
    @pytest.mark.parametrize(
        ("wait", "line", "told"),
        [
            (
                False,
                (SlotTaken(0.0, "t"), []),
                "SlotTaken(at_s=0.0, pool='t'): no such slot was asked for; there are: 'request/s'",
            ),
            (
                False,
                (LinkWentDown(1.0), []),
                "the slot of 'request/s' is taken or denied before: give that a line of its own",
            ),
            (
                True,
                (SlotDenied(1.0, "s"), []),
                "a flow that waits for its turn is not denied its slot of 'request/s'",
            ),
        ],
    )
    def test_what_cannot_happen_is_rejected(self, wait: bool, line: Line, told: str) -> None:
        slot = TakeSlot("s", 1, wait=wait)
        assert told in message_of(play(Request([[slot]]), (LinkWentDown(0.0), [slot])), line)

    def test_one_that_is_waited_for_comes_at_any_time(self) -> None:
        slot = TakeSlot("s", 1, wait=True)
        play(
            Request([[slot], [], [Note("now")]]),
            (LinkWentDown(0.0), [slot]),
            (LinkWentDown(1.0), []),
            (SlotTaken(9.0, "s"), [Note("now")]),
        )


class TestChance:
    def test_the_behaviours_draw_the_given_numbers_in_order(self) -> None:
        play(Dice(), (CONNECTED, [Note("0.25 0.5")]), chance=[0.25, 0.5])

    def test_a_number_too_few_is_an_error_that_says_so(self) -> None:
        with pytest.raises(
            BehaviourError, match=r"behaviour 'dice' failed on DialSucceeded: LookupError: .*chance="
        ) as failed:
            play(Dice(), (CONNECTED, []), chance=[0.25])
        assert failed.value.__notes__ == ["in line 1 of the playbook, DialSucceeded(at_s=0.2)"]

    def test_so_is_a_number_too_many(self) -> None:
        with pytest.raises(AssertionError, match=r"chance: no behaviour drew 0\.75, 1\.0"):
            play(Dice(), (CONNECTED, [Note("0.25 0.5")]), chance=[0.25, 0.5, 0.75, 1.0])

    def test_without_the_declaration_a_behaviour_has_none_as_in_the_relay(self) -> None:
        class Undeclared(Dice):
            draws = False

        with pytest.raises(BehaviourError, match="has no attribute 'chance'"):
            play(Undeclared(), (CONNECTED, []), chance=[0.25, 0.5])
