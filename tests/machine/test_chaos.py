"""The flow machine under behaviours that ask for anything at any time, and events in any order that can happen.

The laws are those of `support.flow_model`: whatever was asked for, the steps add up to a flow that makes sense. What
the shipped behaviours do with any order of events is a target of `tests/fuzz`, under the same laws.
"""

from __future__ import annotations

from typing import Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from relay.actions import (
    AbandonDial,
    Action,
    AnswerProbe,
    Blackhole,
    Dial,
    GiveSlot,
    Grant,
    LimitWindow,
    Note,
    Probe,
    Refuse,
    SendFin,
    SendRst,
    SetKeepalive,
    StartTimer,
    TakeSlot,
)
from relay.address import Endpoint
from relay.behaviours import Actions, Behaviour
from relay.behaviours._api import HANDLERS
from relay.events import (
    ConnectRequested,
    DialFailed,
    DialFailure,
    DialSucceeded,
    Event,
    FailureKind,
    FinReceived,
    InitiatorSent,
    InitiatorVanished,
    LegTimedOut,
    LinkWentDown,
    ProbeAnswered,
    ProbeArrived,
    RstReceived,
    Side,
    SlotDenied,
    SlotTaken,
    TimerFired,
    TosChanged,
)
from relay.machine import FlowMachine
from support.flow_model import FlowModel

FAILURE = DialFailure(FailureKind.OTHER)

requests: st.SearchStrategy[list[Action]] = st.lists(
    st.one_of(
        st.sampled_from([Dial(), AbandonDial(), Grant(), Refuse(FAILURE), Note("x"), StartTimer("t", 1.0)]),
        st.sampled_from([TakeSlot("s", 1), TakeSlot("s", 1, wait=True), GiveSlot("s", 1.0)]),
        st.sampled_from(Side).flatmap(
            lambda side: st.sampled_from(
                [
                    SendFin(side),
                    SendRst(side),
                    SendRst(side, after_data=True),
                    Blackhole(side, 1.0),
                    SetKeepalive(side, 1, 1, 1),
                    Probe(side, 1),
                    AnswerProbe(side),
                    LimitWindow(side, 1),
                ]
            )
        ),
    ),
    max_size=4,
)


class _Chaos(Behaviour):
    """Answers every event with what `requests` holds now, once."""

    def __init__(self) -> None:
        self.requests: list[Action] = []

    def answer(self, event: Event) -> Actions:
        now, self.requests = self.requests, []
        return now


def _chaos(name: str) -> _Chaos:
    kind: Any = type(name, (_Chaos,), {handler: lambda self, event: self.answer(event) for handler in HANDLERS})
    instance: _Chaos = kind()
    return instance


class FlowUnderChaos(RuleBasedStateMachine):
    """Plays the driver: performs each step, and produces only events that a driver could."""

    @initialize(initiator=st.sampled_from(Side))
    def begin(self, initiator: Side) -> None:
        self.behaviours = [_chaos("One"), _chaos("Two")]
        self.model = FlowModel(FlowMachine(self.behaviours, initiator))
        self.initiator = initiator
        self.requesters = {"one", "two"}
        self.now_s = 0.0

    def feed(self, event: Event, one: list[Action], two: list[Action]) -> None:
        self.behaviours[0].requests, self.behaviours[1].requests = list(one), list(two)
        self.model.see(event)
        self.model.perform(self.model.machine.handle(event), {"one", "two"})

    @rule(one=requests, two=requests)
    def asked(self, one: list[Action], two: list[Action]) -> None:
        self.feed(ConnectRequested(self.now_s, Endpoint("192.0.2.1", 1), self.initiator), one, two)

    @precondition(lambda self: self.model.dialling)
    @rule(one=requests, two=requests, reached=st.booleans())
    def dialled(self, one: list[Action], two: list[Action], reached: bool) -> None:
        self.feed(DialSucceeded(self.now_s) if reached else DialFailed(self.now_s, FAILURE), one, two)

    @precondition(lambda self: not self.model.over(self.initiator))
    @rule(one=requests, two=requests)
    def vanished(self, one: list[Action], two: list[Action]) -> None:
        self.feed(InitiatorVanished(self.now_s), one, two)

    @rule(side=st.sampled_from(Side), one=requests, two=requests, kind=st.sampled_from([RstReceived, LegTimedOut]))
    def killed(self, side: Side, one: list[Action], two: list[Action], kind: type[RstReceived | LegTimedOut]) -> None:
        if side in self.model.up:  # even when it is over: our reset and theirs may cross
            self.feed(kind(self.now_s, side), one, two)

    @rule(side=st.sampled_from(Side), one=requests, two=requests)
    def said_goodbye(self, side: Side, one: list[Action], two: list[Action]) -> None:
        if side in self.model.up:
            self.feed(FinReceived(self.now_s, side), one, two)

    @rule(side=st.sampled_from(Side), one=requests, two=requests, what=st.integers(0, 7))
    def went_on(self, side: Side, one: list[Action], two: list[Action], what: int) -> None:
        self.now_s += 1
        event = [
            TosChanged(self.now_s, side, 0, 0, 0x48),
            ProbeArrived(self.now_s, side),
            ProbeAnswered(self.now_s, side),
            LinkWentDown(self.now_s),
            InitiatorSent(self.now_s),
            TimerFired(self.now_s, "one/t"),
            SlotTaken(self.now_s, "one/s"),
            SlotDenied(self.now_s, "one/s"),
        ][what]
        self.feed(event, one, [] if isinstance(event, TimerFired | SlotTaken | SlotDenied) else two)

    @rule()
    def given_up(self) -> None:
        self.model.perform(self.model.machine.end("shutdown"), {"shutdown"})
        self.requesters.add("shutdown")
        assert self.model.machine.over

    @rule()
    def both_left(self) -> None:
        self.model.both_peers_leave(self.now_s, lambda event: self.feed(event, [], []))

    @invariant()
    def it_makes_sense(self) -> None:
        self.model.check(self.requesters)


TestFlowUnderChaos = FlowUnderChaos.TestCase
TestFlowUnderChaos.settings = settings(max_examples=100, stateful_step_count=20)
