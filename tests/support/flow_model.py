"""What a flow's steps must add up to, whoever wished for them: a model that knows only what was done and what was seen.

Feed it each event before the machine and perform each answer after; `check` compares the two.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable

from relay.actions import (
    AbandonDial,
    Deafen,
    Dial,
    Grant,
    LimitBuffer,
    Refuse,
    SendFin,
    SendProbes,
    SendRst,
)
from relay.causes import Cause, How
from relay.events import (
    DialFailed,
    DialSucceeded,
    Ending,
    Event,
    FinReceived,
    LegTimedOut,
    OpenerVanished,
    RstReceived,
    Side,
)
from relay.flow import FlowMachine, Step


class FlowModel:
    """One flow's two sides, as its peers see them."""

    def __init__(self, machine: FlowMachine) -> None:
        self.machine = machine
        self.opener = machine.opener
        self.dialling = False
        self.dials = 0
        self.answers = 0
        self.up = {self.opener}
        self.dead: set[Side] = set()
        self.fin_sent: set[Side] = set()
        self.fin_received: set[Side] = set()
        self.cause = ""
        self.endings: dict[Side, Ending] = {}
        self._was_over = False

    def over(self, side: Side) -> bool:
        return side in self.dead or side in self.fin_sent & self.fin_received

    def see(self, event: Event) -> None:
        """Note what an event says; what comes of a side that is not there is nothing."""
        match event:
            case DialSucceeded() if self.dialling:
                self.dialling = False
                self.up.add(self.opener.other)
            case DialFailed():
                self.dialling = False
                self.cause = self.cause or "destination"
            case OpenerVanished():
                self._kill(self.opener, How.ABANDONED, Cause.PEER)
            case RstReceived(side=side) if side in self.up:
                self._kill(side, How.RST, Cause.PEER)
            case LegTimedOut(side=side) if side in self.up:
                self._kill(side, How.TIMEOUT, Cause.PEER)
            case FinReceived(side=side) if side in self.up:
                self._begin_to_end(side, Cause.PEER)
                self.fin_received.add(side)
            case _:
                pass

    def perform(self, steps: Iterable[Step], wishers: Collection[str]) -> None:
        """Do what the machine says, which must be possible at each step."""
        steps = list(steps)
        resets = {action.side for action, _ in steps if isinstance(action, SendRst)}
        for action, because in steps:
            assert because in wishers, f"{action} because of {because}"
            match action:
                case SendFin(side=side):
                    self._check_alive(side)
                    assert side not in self.fin_sent | resets
                    self._begin_to_end(side, because)
                    self.fin_sent.add(side)
                case SendRst(side=side):
                    self._check_alive(side)
                    self._kill(side, How.RST, because)
                case Deafen(side=side):
                    self._check_alive(side)
                    self._kill(side, How.SILENCE, because)
                case SendProbes(side=side) | LimitBuffer(side=side):
                    self._check_alive(side)
                case Dial():
                    assert not self.dialling
                    assert self.opener.other not in self.up
                    assert not self.over(self.opener)
                    self.dialling = True
                    self.dials += 1
                case AbandonDial():
                    assert self.dialling
                    self.dialling = False
                case Grant() | Refuse():
                    assert not self.over(self.opener)
                    self.answers += 1
                    if isinstance(action, Refuse):
                        self._kill(self.opener, How.REFUSED, because)
                case _:
                    pass

    def _begin_to_end(self, side: Side, because: str) -> None:
        """The first FIN, in either direction, is how a side ends, unless something kills it before the second."""
        if not self.over(side):
            self.cause = self.cause or (f"{side.value}-{Cause.PEER}" if because == Cause.PEER else because)
            self.endings.setdefault(side, Ending(side, How.FIN, because))

    def _kill(self, side: Side, how: How, because: str) -> None:
        if not self.over(side):
            self._begin_to_end(side, because)
            self.endings[side] = Ending(side, how, because)
            self.dead.add(side)

    def _check_alive(self, side: Side) -> None:
        assert side in self.up
        assert not self.over(side)

    def check(self, wishers: Collection[str]) -> None:
        """Insist that the machine says of itself what was done."""
        machine = self.machine
        assert self.answers <= 1
        assert machine.answered is bool(self.answers)
        assert machine.over or not self._was_over, "what is over stays over"
        self._was_over = machine.over
        for side in Side:
            up = side in self.up
            assert machine.is_over(side) is (not up or self.over(side))
            assert machine.can_send(side) is (up and side not in self.dead | self.fin_sent)
        assert machine.over is (not self.dialling and all(machine.is_over(side) for side in Side))
        assert machine.endings == self.endings
        assert machine.cause == self.cause
        assert {ending.because for ending in self.endings.values()} <= {Cause.PEER, *wishers}
