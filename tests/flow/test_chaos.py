"""The flow machine under behaviours that wish for anything at any time, and events in any order that can happen.

The model beside it knows only what the steps say: whatever was wished, they must add up to a flow that makes sense.
"""

from __future__ import annotations

from typing import Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from relay.actions import (
    AbandonDial,
    Action,
    Deafen,
    Dial,
    Grant,
    LimitBuffer,
    Note,
    Refuse,
    SendFin,
    SendProbes,
    SendRst,
    StartTimer,
)
from relay.address import Endpoint
from relay.behaviours import Actions, Behaviour
from relay.behaviours._api import HANDLERS
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

FAILURE = DialFailure(FailureKind.OTHER)

wishes: st.SearchStrategy[list[Action]] = st.lists(
    st.one_of(
        st.sampled_from([Dial(), AbandonDial(), Grant(), Refuse(FAILURE), Note("x"), StartTimer("t", 1.0)]),
        st.sampled_from(Side).flatmap(
            lambda side: st.sampled_from(
                [
                    SendFin(side),
                    SendRst(side),
                    SendRst(side, after_data=True),
                    Deafen(side, 1.0),
                    SendProbes(side, 1, 1, 1),
                    LimitBuffer(side, 1),
                ]
            )
        ),
    ),
    max_size=4,
)


class _Chaos(Behaviour):
    """Answers every event with what `wishes` holds now, once."""

    def __init__(self) -> None:
        self.wishes: list[Action] = []

    def answer(self, event: Event) -> Actions:
        now, self.wishes = self.wishes, []
        return now


def _chaos(name: str) -> _Chaos:
    kind: Any = type(name, (_Chaos,), {handler: lambda self, event: self.answer(event) for handler in HANDLERS})
    instance: _Chaos = kind()
    return instance


class FlowUnderChaos(RuleBasedStateMachine):
    """Plays the driver: performs each step, and produces only events that a driver could."""

    @initialize(opener=st.sampled_from(Side))
    def begin(self, opener: Side) -> None:
        self.behaviours = [_chaos("One"), _chaos("Two")]
        self.machine = FlowMachine(self.behaviours, opener)
        self.opener = opener
        self.now_s = 0.0
        self.dialling = False
        self.answers = 0
        self.up = {opener}
        self.dead: set[Side] = set()
        self.fin_sent: set[Side] = set()
        self.fin_received: set[Side] = set()
        self.settled: dict[Side, Ending] = {}
        self.was_over = False
        self.gave_up = False

    def over(self, side: Side) -> bool:
        return side in self.dead or side in self.fin_sent & self.fin_received

    def feed(self, event: Event, one: list[Action], two: list[Action]) -> None:
        self.behaviours[0].wishes, self.behaviours[1].wishes = list(one), list(two)
        self.perform(self.machine.handle(event), {"one", "two"})

    def perform(self, steps: list[Step], wishers: set[str]) -> None:
        resets = {action.side for action, _ in steps if isinstance(action, SendRst)}
        for action, because in steps:
            assert because in wishers
            match action:
                case SendFin(side=side):
                    assert side in self.up
                    assert not self.over(side)
                    assert side not in self.fin_sent | resets
                    self.fin_sent.add(side)
                case SendRst(side=side) | Deafen(side=side):
                    assert side in self.up
                    assert not self.over(side)
                    self.dead.add(side)
                case SendProbes(side=side) | LimitBuffer(side=side):
                    assert side in self.up
                    assert not self.over(side)
                case Dial():
                    assert not self.dialling
                    assert self.opener.other not in self.up
                    assert not self.over(self.opener)
                    self.dialling = True
                case AbandonDial():
                    assert self.dialling
                    self.dialling = False
                case Grant() | Refuse():
                    assert not self.over(self.opener)
                    self.answers += 1
                    if isinstance(action, Refuse):
                        self.dead.add(self.opener)

    @rule(one=wishes, two=wishes)
    def asked(self, one: list[Action], two: list[Action]) -> None:
        self.feed(ConnectRequested(self.now_s, Endpoint("192.0.2.1", 1), self.opener), one, two)

    @precondition(lambda self: self.dialling)
    @rule(one=wishes, two=wishes, reached=st.booleans())
    def dialled(self, one: list[Action], two: list[Action], reached: bool) -> None:
        self.dialling = False
        if reached:
            self.up.add(self.opener.other)
        self.feed(DialSucceeded(self.now_s) if reached else DialFailed(self.now_s, FAILURE), one, two)

    @precondition(lambda self: self.answers == 0 and not self.over(self.opener))
    @rule(one=wishes, two=wishes)
    def vanished(self, one: list[Action], two: list[Action]) -> None:
        self.dead.add(self.opener)
        self.feed(OpenerVanished(self.now_s), one, two)

    @rule(side=st.sampled_from(Side), one=wishes, two=wishes, kind=st.sampled_from([RstReceived, LegTimedOut]))
    def killed(self, side: Side, one: list[Action], two: list[Action], kind: type[RstReceived | LegTimedOut]) -> None:
        if side in self.up:  # even when it is over: our reset and theirs may cross
            self.dead.add(side)
            self.feed(kind(self.now_s, side), one, two)

    @rule(side=st.sampled_from(Side), one=wishes, two=wishes)
    def said_goodbye(self, side: Side, one: list[Action], two: list[Action]) -> None:
        if side in self.up:
            self.fin_received.add(side)
            self.feed(FinReceived(self.now_s, side), one, two)

    @rule(side=st.sampled_from(Side), one=wishes, two=wishes, what=st.integers(0, 3))
    def went_on(self, side: Side, one: list[Action], two: list[Action], what: int) -> None:
        self.now_s += 1
        event = [
            TosChanged(self.now_s, side, 0, 0, 0x48),
            ProbeArrived(self.now_s, side),
            LinkWentDown(self.now_s),
            TimerFired(self.now_s, "one/t"),
        ][what]
        self.feed(event, one, [] if isinstance(event, TimerFired) else two)

    @rule()
    def given_up(self) -> None:
        self.perform(self.machine.end("shutdown"), {"shutdown"})
        self.gave_up = True
        assert self.machine.over

    @invariant()
    def it_was_answered_once_at_most(self) -> None:
        assert self.answers <= 1
        assert self.machine.answered is bool(self.answers)

    @invariant()
    def what_is_over_stays_over(self) -> None:
        assert self.machine.over or not self.was_over
        self.was_over = self.machine.over

    @invariant()
    def it_agrees_with_what_was_done(self) -> None:
        for side in Side:
            up = side in self.up
            assert self.machine.is_over(side) is (not up or self.over(side))
            assert self.machine.can_send(side) is (up and side not in self.dead | self.fin_sent)
        assert self.machine.over is (not self.dialling and all(self.machine.is_over(side) for side in Side))

    @invariant()
    def every_side_that_is_over_has_one_ending_for_good(self) -> None:
        endings = self.machine.endings
        assert set(endings) <= self.up
        for side in self.up:
            if self.over(side):
                assert endings[side] == self.settled.setdefault(side, endings[side])
                assert endings[side].side is side
                assert endings[side].how in {"fin", "rst", "refused", "abandoned", "timeout", "silence"}
        whose = {"peer", "one", "two"} | ({"shutdown"} if self.gave_up else set())
        assert {ending.because for ending in endings.values()} <= whose

    @invariant()
    def the_end_has_a_cause(self) -> None:
        assert bool(self.machine.cause) or not self.machine.endings


TestFlowUnderChaos = FlowUnderChaos.TestCase
TestFlowUnderChaos.settings = settings(max_examples=100, stateful_step_count=20, deadline=None)
