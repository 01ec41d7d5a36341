"""The sides of a flow: a few bits about each, from which every state follows that one may want to name (half-closed).

A side is over once it was reset, by itself or by us, or both its FINs have passed; the flow is over when both sides
are. An action on a side that is over, or was never there, is impossible; so is a second FIN, grant or refusal.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping
from types import MappingProxyType

from relay.actions import (
    AbandonDial,
    Blackhole,
    Close,
    Dial,
    Forget,
    Grant,
    Ignore,
    Refuse,
    SendFin,
    SendRst,
    SideAction,
    TakeSlot,
)
from relay.causes import Cause, How
from relay.events import (
    DialFailed,
    DialSucceeded,
    Ending,
    Event,
    FinReceived,
    InitiatorVanished,
    LegTimedOut,
    RstReceived,
    Side,
)
from relay.machine.step import Step


class _Bit(enum.IntFlag):
    PRESENT = enum.auto()  # there is, or was, a connection to this side
    FIN_RECEIVED = enum.auto()
    FIN_SENT = enum.auto()
    DEAD = enum.auto()  # reset by either end, timed out, vanished, refused or handed over
    FINISHED = FIN_RECEIVED | FIN_SENT


# Plain integers: the arithmetic of IntFlag costs a microsecond a step.
_PRESENT, _FIN_RECEIVED, _FIN_SENT, DEAD, _FINISHED = (
    int(bit) for bit in (_Bit.PRESENT, _Bit.FIN_RECEIVED, _Bit.FIN_SENT, _Bit.DEAD, _Bit.FINISHED)
)

_FIN, _PEER = How.FIN, Cause.PEER  # Python 3.11 takes 60 ns longer for a member than for a global
_PEERS = {Side.INTERNAL: Cause.INTERNAL_PEER, Side.EXTERNAL: Cause.EXTERNAL_PEER}
_ALIVE = _PRESENT | DEAD
_OPEN = _PRESENT | _FIN_SENT | DEAD
_NO_ENDINGS: Mapping[Side, Ending] = MappingProxyType({})


class FlowSides:
    """Both connections of a flow, and its dial, as events and steps change them."""

    __slots__ = ("_answered", "_dialling", "_initiator_bits", "_target_bits", "cause", "endings", "initiator")

    def __init__(self, initiator: Side) -> None:
        self._initiator_bits, self._target_bits = _PRESENT, 0
        self._dialling = False
        self._answered = False
        self.initiator = initiator
        self.cause = ""
        """What began the flow's end: a `Cause` or a behaviour's name; empty as long as nothing has."""
        self.endings: Mapping[Side, Ending] = _NO_ENDINGS
        """How each side ended, or began to end."""

    def is_over(self, side: Side) -> bool:
        """Whether nothing more can come from or go to this side, or nothing ever did."""
        return _is_over(self._initiator_bits if side is self.initiator else self._target_bits)

    def can_send(self, side: Side) -> bool:
        """Whether bytes for this side can still be delivered."""
        bits = self._initiator_bits if side is self.initiator else self._target_bits
        return bits & _OPEN == _PRESENT

    @property
    def answered(self) -> bool:
        """Whether the initiator has been granted or refused its connection."""
        return self._answered

    @property
    def over(self) -> bool:
        return not self._dialling and _is_over(self._initiator_bits) and _is_over(self._target_bits)

    @property
    def fading(self) -> bool:
        """Whether a side is over, or neither sends any more: what is left of the flow should end soon, too."""
        initiator, target = self._initiator_bits, self._target_bits
        return bool(initiator & target & _FIN_RECEIVED) or _has_ended(initiator) or _has_ended(target)

    def observe(self, event: Event) -> None:
        """Take in an event that no behaviour is asked about: `handle` does, with every other."""
        match event:
            case FinReceived(side=side):
                self._end_by_peer(side, _FIN_RECEIVED, _FIN)
            case DialSucceeded() if self._dialling:  # without a dial it changes nothing: a flow that is over stays so
                self._dialling = False
                self._target_bits |= _PRESENT
            case DialFailed():
                self._dialling = False
                self.cause = self.cause or Cause.DESTINATION
            case InitiatorVanished():
                self._end_by_peer(self.initiator, DEAD, How.ABANDONED)
            case RstReceived(side=side):
                self._end_by_peer(side, DEAD, How.RST)
            case LegTimedOut(side=side):
                self._end_by_peer(side, DEAD, How.TIMEOUT)
            case _:
                pass

    def _end_by_peer(self, side: Side, bit: int, how: How) -> None:
        if not self.is_over(side):
            self.cause = self.cause or _PEERS[side]
            self._end_side(side, bit, how, _PEER)

    def _end_side(self, side: Side, bit: int, how: How, because: str) -> None:
        """Note one more step of the end of a side that is not over: a FIN in either direction, or what kills it."""
        self.cause = self.cause or because
        if bit == DEAD or side not in self.endings:
            self.endings = {**self.endings, side: Ending(side, how, because)}
        if side is self.initiator:
            self._initiator_bits |= bit
        else:
            self._target_bits |= bit

    def _apply(self, step: Step) -> bool:
        """Note what the step does to the flow; False if it cannot be done any more."""
        action, because = step
        match action:
            case SendFin(side=side):
                if not self.can_send(side):
                    return False
                self._end_side(side, _FIN_SENT, _FIN, because)
            case Dial():
                if self._dialling or self._target_bits or self.is_over(self.initiator):
                    return False
                self._dialling = True
            case Grant() | Refuse() | Ignore():
                if self._answered or self.is_over(self.initiator):
                    return False
                self._answered = True
                if isinstance(action, Refuse):
                    self._end_side(self.initiator, DEAD, How.REFUSED, because)
                elif isinstance(action, Ignore):
                    self._end_side(self.initiator, DEAD, How.SILENCE, because)
            case SendRst(side=side) | Blackhole(side=side) | Forget(side=side) | Close(side=side):
                if self.is_over(side):
                    return False
                self._end_side(side, DEAD, _how(action), because)
            case AbandonDial():
                if not self._dialling:
                    return False
                self._dialling = False
            case TakeSlot():
                return not self.over
            case SideAction(side=side):
                return not self.is_over(side)
            case _:
                pass
        return True


def _how(action: SendRst | Blackhole | Forget | Close) -> How:
    if isinstance(action, Forget) and action.then == "reset":
        return How.FORGOTTEN
    return {SendRst: How.RST, Close: How.FIN}.get(type(action), How.SILENCE)


def _is_over(bits: int) -> bool:
    return bits & _ALIVE != _PRESENT or bits & _FINISHED == _FINISHED


def _has_ended(bits: int) -> bool:
    return bits & _PRESENT != 0 and _is_over(bits)
