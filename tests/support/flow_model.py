"""What must hold of every flow, whatever its behaviours ask for and in whatever order events come.

The model keeps a chronicle of each side: the FINs, resets and the like that came from it or went to it. The laws are
stated over that chronicle. They do not say what the machine does next; they say what no step may do, and what the
machine must say of itself once something was done.

Feed it each event before the machine (`see`) and perform each answer after (`perform`); `check` insists on the rest.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable

from relay.actions import (
    AbandonDial,
    Action,
    AnswerProbe,
    Blackhole,
    Close,
    Dial,
    Forget,
    Grant,
    Ignore,
    LimitWindow,
    Probe,
    Refuse,
    SendFin,
    SendRst,
    SetKeepalive,
)
from relay.causes import Cause, How
from relay.events import (
    DialFailed,
    DialFailure,
    DialSucceeded,
    Ending,
    Event,
    FailureKind,
    FinReceived,
    InitiatorVanished,
    LegTimedOut,
    RstReceived,
    Side,
)
from relay.machine import FlowMachine, Step

_HOW = {SendFin: How.FIN, SendRst: How.RST, Blackhole: How.SILENCE, Close: How.FIN}
_HOW_FORGOTTEN = {"silence": How.SILENCE, "reset": How.FORGOTTEN}
_HOW_BY_PEER = {FinReceived: How.FIN, RstReceived: How.RST, LegTimedOut: How.TIMEOUT}


class FlowModel:
    """One flow's two sides, as their peers see them."""

    def __init__(self, machine: FlowMachine) -> None:
        self.machine = machine
        self.initiator = machine.initiator
        self.up = {self.initiator}
        self.chronicle: dict[Side, list[Ending]] = {side: [] for side in Side}
        """What ended a side, or half of it, in order."""
        self.causes: list[str] = []
        """What each entry of the chronicle, and each failed dial, would be called as the cause of the flow's end."""
        self.dialling = False
        self.answers = 0
        self._closed: set[Side] = set()
        """The sides that a `Close` ended: a FIN, and no answer is waited for."""
        self._was_over = False
        self._reported: dict[Side, Ending] = {}
        self._cause = ""

    def fin_from(self, side: Side) -> bool:
        return Ending(side, How.FIN, Cause.PEER) in self.chronicle[side]

    def fin_to(self, side: Side) -> bool:
        return any(end.how is How.FIN and end.because != Cause.PEER for end in self.chronicle[side])

    def killed(self, side: Side) -> bool:
        return side in self._closed or any(end.how != "fin" for end in self.chronicle[side])

    def over(self, side: Side) -> bool:
        """Whether a side has ended: one word that needs no answer, or a FIN in each direction."""
        return self.killed(side) or (self.fin_from(side) and self.fin_to(side))

    def see(self, event: Event) -> None:
        """Note what an event says. A side that is over, or is not there, has nothing to say."""
        match event:
            case DialSucceeded() if self.dialling:
                self.dialling = False
                self.up.add(self.initiator.other)
            case DialFailed():
                self.dialling = False
                self.causes.append("destination")
            case InitiatorVanished():
                self._note(Ending(self.initiator, How.ABANDONED, Cause.PEER))
            case FinReceived(side=side) | RstReceived(side=side) | LegTimedOut(side=side):
                self._note(Ending(side, _HOW_BY_PEER[type(event)], Cause.PEER))
            case _:
                pass

    def perform(self, steps: Iterable[Step], requesters: Collection[str]) -> None:
        """Do what the machine says: each step must be lawful when its turn comes."""
        steps = list(steps)
        resets = {action.side for action, _ in steps if isinstance(action, SendRst)}
        for action, because in steps:
            assert because in requesters, f"{action} because of {because}"
            self._demand_lawful(action)
            match action:
                case Forget(side=side, then=then):
                    self._note(Ending(side, _HOW_FORGOTTEN[then], because))
                case SendFin(side=side) | SendRst(side=side) | Blackhole(side=side) | Close(side=side):
                    assert not (isinstance(action, SendFin) and side in resets), "of a FIN and a RST the RST stays"
                    self._note(Ending(side, _HOW[type(action)], because))
                    if isinstance(action, Close):
                        self._closed.add(side)
                case Dial():
                    self.dialling = True
                case AbandonDial():
                    self.dialling = False
                case Grant():
                    self.answers += 1
                case Refuse():
                    self.answers += 1
                    self._note(Ending(self.initiator, How.REFUSED, because))
                case Ignore():
                    self.answers += 1
                    self._note(Ending(self.initiator, How.SILENCE, because))
                case _:
                    pass

    def _demand_lawful(self, action: Action) -> None:
        match action:
            case SendFin(side=side) | SendRst(side=side) | Blackhole(side=side) | Forget(side=side) | Close(side=side):
                assert self._alive(side), f"{action} to a side that is not there"
                assert not (isinstance(action, SendFin) and self.fin_to(side)), "a second FIN"
            case SetKeepalive(side=side) | LimitWindow(side=side) | Probe(side=side) | AnswerProbe(side=side):
                assert self._alive(side), f"{action} to a side that is not there"
            case Dial():
                assert not self.dialling, "a second dial"
                assert self.initiator.other not in self.up, "a second destination"
                assert self._alive(self.initiator), "a dial for an initiator that is not there"
            case AbandonDial():
                assert self.dialling, "no dial to abandon"
            case Grant() | Refuse() | Ignore():
                assert self._alive(self.initiator), "an answer to an initiator that is not there"
                assert not self.answers, "a second answer"
            case _:
                pass

    def check(self, requesters: Collection[str]) -> None:
        """Insist that the machine says of itself what was done, and takes nothing back."""
        machine = self.machine
        assert machine.answered is bool(self.answers)
        for side in Side:
            assert machine.is_over(side) is not self._alive(side)
            assert machine.can_send(side) is (self._alive(side) and not self.fin_to(side))
        over = not (self.dialling or any(map(self._alive, Side)))
        assert machine.over is over
        assert over or not self._was_over, "what is over stays over"
        self._was_over = over
        self._check_endings(requesters)
        self._check_cause()

    def _check_endings(self, requesters: Collection[str]) -> None:
        told = self.machine.endings
        assert set(told) == {side for side in Side if self.chronicle[side]}, "a side that began to end has an ending"
        for side, ending in told.items():
            assert ending in self.chronicle[side], "what is reported has happened"
            assert ending.because in {Cause.PEER, *requesters}
            assert (ending.how != "fin" or side in self._closed) is self.killed(side), (
                "what kills a side is how it ended"
            )
            before = self._reported.get(side, ending)
            assert ending == before or (before.how == "fin" and self.killed(side)), (
                "only a FIN gives way, to what kills"
            )
        self._reported = dict(told)

    def _check_cause(self) -> None:
        cause = self.machine.cause
        assert cause == (self.causes or [""])[0], "the cause is what came first"
        assert cause == self._cause or not self._cause, "a cause stays"
        self._cause = cause

    def both_peers_leave(self, at_s: float, take: Callable[[Event], None]) -> None:
        """Have whatever is left of the flow's peers go, which must end it: `take` feeds an event, and no requests."""
        if self.dialling:
            take(DialFailed(at_s, DialFailure(FailureKind.OTHER)))
        for side in Side:
            if side in self.up:
                take(RstReceived(at_s, side))
        assert self.machine.over, "both peers are gone, and the flow is not over"

    def _alive(self, side: Side) -> bool:
        return side in self.up and not self.over(side)

    def _note(self, end: Ending) -> None:
        if self._alive(end.side):
            self.chronicle[end.side].append(end)
            self.causes.append(f"{end.side.value}-{Cause.PEER}" if end.because == Cause.PEER else end.because)
