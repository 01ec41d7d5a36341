"""One flow, as a machine: events in, actions out.

The machine has no rules of its own about what a NAT does. It asks the flow's behaviours, in the profile's order, and
drops what is impossible from their answers:

* an action on a side that is over, or was never there, is dropped; so is a second FIN, grant or refusal;
* what was asked for together with a slot waits until the slot is taken, and is dropped if it is denied;
* of a FIN and a RST for the same side in one answer the RST stays, and of refusals the one that is meant instead;
* each action that stays carries the name of the behaviour that asked for it.

A flow is two sides and a few bits about each; every state one may want to name (half-closed, lingering) follows from
them. A side is over once it was reset, by itself or by us, or both its FINs have passed; the flow is over when both
sides are.
"""

from __future__ import annotations

import enum
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from types import MappingProxyType
from typing import NamedTuple

from relay.actions import (
    AbandonDial,
    Action,
    AnswerProbe,
    Blackhole,
    Close,
    DelayDial,
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
    SetShape,
    TakeSlot,
)
from relay.behaviours import Behaviour, Lineup
from relay.causes import Cause, How
from relay.errors import BehaviourError
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
    SlotDenied,
    SlotTaken,
    TimerFired,
    WentIdle,
)


class Step(NamedTuple):
    """An action to perform now, and the name of the behaviour behind it."""

    action: Action
    because: str


class _Bit(enum.IntFlag):
    PRESENT = enum.auto()  # there is, or was, a connection to this side
    FIN_RECEIVED = enum.auto()
    FIN_SENT = enum.auto()
    DEAD = enum.auto()  # reset by either end, timed out, vanished, refused or handed over
    FINISHED = FIN_RECEIVED | FIN_SENT


# Plain integers: the arithmetic of IntFlag costs a microsecond a step.
_PRESENT, _FIN_RECEIVED, _FIN_SENT, _DEAD, _FINISHED = (
    int(bit) for bit in (_Bit.PRESENT, _Bit.FIN_RECEIVED, _Bit.FIN_SENT, _Bit.DEAD, _Bit.FINISHED)
)


_PEERS = {Side.INTERNAL: Cause.INTERNAL_PEER, Side.EXTERNAL: Cause.EXTERNAL_PEER}
_ALIVE = _PRESENT | _DEAD
_OPEN = _PRESENT | _FIN_SENT | _DEAD
_OWNED = (TimerFired, WentIdle, SlotTaken, SlotDenied)
_NO_ENDINGS: Mapping[Side, Ending] = MappingProxyType({})


class FlowMachine:
    """Feed it events in order with `handle`; perform the steps it returns, in order, before the next event."""

    __slots__ = (
        "_answered",
        "_awaited",
        "_behaviours",
        "_dialling",
        "_dropped",
        "_held",
        "_initiator_bits",
        "_lineup",
        "_prepare",
        "_target_bits",
        "cause",
        "endings",
        "initiator",
    )

    def __init__(
        self,
        behaviours: Lineup | Sequence[Behaviour],
        initiator: Side = Side.INTERNAL,
        prepare: Callable[[Behaviour], None] | None = None,
        dropped: Callable[[Step], None] | None = None,
    ) -> None:
        """`prepare` is called with each behaviour that is made from the lineup, before it is asked anything.

        `dropped` is called with each action that comes too late to be a step.
        """
        self._lineup = behaviours if isinstance(behaviours, Lineup) else Lineup.of(behaviours)
        self._behaviours: list[Behaviour | None] = [None] * len(self._lineup.kinds)
        self._prepare = prepare
        self._dropped = dropped
        self._initiator_bits, self._target_bits = _PRESENT, 0
        self._dialling = False
        self._answered = False
        self._held: tuple[Step, ...] = ()
        self._awaited: tuple[str, ...] = ()  # the slots that it waits for, by behaviour and pool
        self.initiator = initiator
        self.cause = ""
        """What began the flow's end: a `Cause` or a behaviour's name; empty as long as nothing has."""
        self.endings: Mapping[Side, Ending] = _NO_ENDINGS
        """How each side ended, or began to end."""

    def handle(self, event: Event) -> list[Step]:
        """Take in one event and return what to do about it.

        Raises:
            BehaviourError: a behaviour raised; the flow is to be ended with `end`.
        """
        initiator_was_over = self._dialling and self.is_over(self.initiator)  # without the initiator no dial begins
        self.observe(event)
        requested = self._requested(event)
        if self._awaited:
            requested = self._released(event, requested)
        if len(requested) > 1:
            requested = _merged(self._hold(requested))
        if self._dropped is None:
            steps = [step for step in requested if self._apply(step)]
        else:
            steps = self._possible_or_told(requested, self._dropped)
        if (
            self._dialling
            and self.is_over(self.initiator)
            and not (initiator_was_over or isinstance(event, InitiatorVanished))
        ):
            # With the initiator over, however it ended, only the behaviours can end the dial: tell them.
            steps += self.handle(InitiatorVanished(event.at_s))
        return steps

    @property
    def lineup(self) -> Lineup:
        """The behaviours that are asked."""
        return self._lineup

    def go_on_with(self, lineup: Lineup) -> None:
        """Ask these behaviours from now on; each has the place that it has in the lineup so far."""
        self._lineup = lineup

    def end(self, because: str, *, in_order: bool = False) -> list[Step]:
        """Give the whole flow up: the steps that end whatever is not over yet, by RST or, in order, by FIN."""
        end = SendFin if in_order else SendRst
        steps = [Step(end(side), because) for side in Side]
        if self._dialling:
            steps.insert(0, Step(AbandonDial(), because))
        return self._possible(steps)

    def forget(self, because: str) -> list[Step]:
        """Give a flow of datagrams up: the steps that end whatever is not over yet, without a word to either side."""
        steps = [Step(Forget(side, "silence", 0.0), because) for side in Side]
        if self._dialling:
            steps.insert(0, Step(AbandonDial(), because))
        return self._possible(steps)

    def hand_over(self, because: str) -> list[Step]:
        """Give the flow up, but for the initiator's connection, which serves another: the steps that end the rest."""
        if not self.is_over(self.initiator):
            self._end_side(self.initiator, _DEAD, How.HANDED_OVER, because)
        return self.end(because, in_order=True)

    def is_over(self, side: Side) -> bool:
        """Whether nothing more can come from or go to this side, or nothing ever did."""
        bits = self._initiator_bits if side is self.initiator else self._target_bits
        return bits & _ALIVE != _PRESENT or bits & _FINISHED == _FINISHED

    def can_send(self, side: Side) -> bool:
        """Whether bytes for this side can still be delivered."""
        bits = self._initiator_bits if side is self.initiator else self._target_bits
        return bits & _OPEN == _PRESENT

    @property
    def answered(self) -> bool:
        """Whether the initiator has been granted or refused its connection."""
        return self._answered

    @property
    def waits(self) -> bool:
        """Whether something that was asked for waits for a slot."""
        return bool(self._held)

    @property
    def over(self) -> bool:
        return not self._dialling and self.is_over(Side.INTERNAL) and self.is_over(Side.EXTERNAL)

    @property
    def fading(self) -> bool:
        """Whether a side is over, or neither sends any more: what is left of the flow should end soon, too."""
        initiator, target = self._initiator_bits, self._target_bits
        return bool(initiator & target & _FIN_RECEIVED) or _has_ended(initiator) or _has_ended(target)

    def _requested(self, event: Event) -> list[Step]:
        """What the behaviours make of an event, possible or not."""
        asked, seen = self._lineup.handlers.get(type(event), ()), event
        if isinstance(event, _OWNED):
            owner, seen = _owned(event)
            asked = tuple(each for each in asked if each.name == owner)
        steps: list[Step] = []
        for place, handler, name, shared in asked:
            try:
                handle = shared or getattr(self._behaviours[place] or self._make(place), handler)
                for action in handle(seen):
                    if not isinstance(action, Action):
                        raise TypeError(f"{action!r} is not an action")
                    steps.append(Step(action, name))
            except Exception as fault:
                raise BehaviourError(name, event, fault) from fault
        return steps

    def _hold(self, requested: list[Step]) -> list[Step]:
        """Put off all but the slots that are asked for, if any are."""
        slots = [step for step in requested if isinstance(step.action, TakeSlot)]
        if not slots:
            return requested
        self._awaited += tuple(f"{because}/{action.pool}" for action, because in slots if isinstance(action, TakeSlot))
        self._held += tuple(step for step in requested if not isinstance(step.action, TakeSlot))
        return slots

    def _released(self, event: Event, requested: list[Step]) -> list[Step]:
        """Add what was put off, if this event brings the last slot that it has waited for."""
        if isinstance(event, SlotDenied) and event.pool in self._awaited:
            self._awaited = self._held = ()
        elif isinstance(event, SlotTaken):
            self._awaited = tuple(pool for pool in self._awaited if pool != event.pool)
            if not self._awaited:
                requested, self._held = [*self._held, *requested], ()
        return requested

    def _make(self, place: int) -> Behaviour:
        behaviour = self._behaviours[place] = self._lineup.makers[place]()
        if self._prepare is not None:
            self._prepare(behaviour)
        return behaviour

    def observe(self, event: Event) -> None:
        """Take in an event that no behaviour is asked about: `handle` does, with every other."""
        match event:
            case FinReceived(side=side):
                self._end_by_peer(side, _FIN_RECEIVED, How.FIN)
            case DialSucceeded() if self._dialling:  # without a dial it changes nothing: a flow that is over stays so
                self._dialling = False
                self._target_bits |= _PRESENT
            case DialFailed():
                self._dialling = False
                self.cause = self.cause or Cause.DESTINATION
            case InitiatorVanished():
                self._end_by_peer(self.initiator, _DEAD, How.ABANDONED)
            case RstReceived(side=side):
                self._end_by_peer(side, _DEAD, How.RST)
            case LegTimedOut(side=side):
                self._end_by_peer(side, _DEAD, How.TIMEOUT)
            case _:
                pass

    def _end_by_peer(self, side: Side, bit: int, how: How) -> None:
        if not self.is_over(side):
            self.cause = self.cause or _PEERS[side]
            self._end_side(side, bit, how, Cause.PEER)

    def _end_side(self, side: Side, bit: int, how: How, because: str) -> None:
        """Note one more step of the end of a side that is not over: a FIN in either direction, or what kills it."""
        self.cause = self.cause or because
        if bit == _DEAD or side not in self.endings:
            self.endings = {**self.endings, side: Ending(side, how, because)}
        if side is self.initiator:
            self._initiator_bits |= bit
        else:
            self._target_bits |= bit

    def _possible(self, steps: list[Step]) -> list[Step]:
        return [step for step in steps if self._apply(step)]

    def _possible_or_told(self, requested: list[Step], dropped: Callable[[Step], None]) -> list[Step]:
        possible: list[Step] = []
        for step in requested:
            if self._apply(step):
                possible.append(step)
            else:
                dropped(step)
        return possible

    def _apply(self, step: Step) -> bool:
        """Note what the step does to the flow; False if it cannot be done any more."""
        action, because = step
        match action:
            case SendFin(side=side):
                if not self.can_send(side):
                    return False
                self._end_side(side, _FIN_SENT, How.FIN, because)
            case Dial():
                if self._dialling or self._target_bits or self.is_over(self.initiator):
                    return False
                self._dialling = True
            case Grant() | Refuse() | Ignore():
                if self._answered or self.is_over(self.initiator):
                    return False
                self._answered = True
                if isinstance(action, Refuse):
                    self._end_side(self.initiator, _DEAD, How.REFUSED, because)
                elif isinstance(action, Ignore):
                    self._end_side(self.initiator, _DEAD, How.SILENCE, because)
            case SendRst(side=side) | Blackhole(side=side) | Forget(side=side) | Close(side=side):
                if self.is_over(side):
                    return False
                self._end_side(side, _DEAD, _how(action), because)
            case AbandonDial():
                if not self._dialling:
                    return False
                self._dialling = False
            case TakeSlot():
                return not self.over
            case (
                SetKeepalive(side=side)
                | Probe(side=side)
                | AnswerProbe(side=side)
                | LimitWindow(side=side)
                | SetShape(side=side)
            ):
                return not self.is_over(side)
            case _:
                pass
        return True


def _how(action: SendRst | Blackhole | Forget | Close) -> How:
    if isinstance(action, Forget) and action.then == "reset":
        return How.FORGOTTEN
    return {SendRst: How.RST, Close: How.FIN}.get(type(action), How.SILENCE)


def _owned(event: Event) -> tuple[str, Event]:
    """Whose event it is that one behaviour alone sees, and the event by that behaviour's own name for it."""
    if isinstance(event, SlotTaken | SlotDenied):
        owner, _, pool = event.pool.partition("/")
        return owner, replace(event, pool=pool)
    assert isinstance(event, TimerFired | WentIdle)  # noqa: S101 - see `_OWNED`
    owner, _, key = event.key.partition("/")
    return owner, replace(event, key=key)


def _has_ended(bits: int) -> bool:
    return bits & _PRESENT != 0 and (bits & _DEAD != 0 or bits & _FINISHED == _FINISHED)


def _is_instead(action: Action) -> bool:
    return isinstance(action, Refuse) and action.instead


def _merged(steps: list[Step]) -> list[Step]:
    """Keep the stronger of what disagrees: RST over FIN, no answer over any refusal, no dial over any. A delay precedes
    its dial."""
    steps = sorted(steps, key=lambda step: not isinstance(step.action, DelayDial))
    if any(isinstance(step.action, AbandonDial) for step in steps):
        steps = [step for step in steps if not isinstance(step.action, Dial | DelayDial)]
    if any(isinstance(step.action, Ignore) for step in steps):
        steps = [step for step in steps if not isinstance(step.action, Refuse | Grant)]
    elif any(isinstance(step.action, Refuse) and step.action.instead for step in steps):
        steps = [step for step in steps if not isinstance(step.action, Refuse | Grant) or _is_instead(step.action)]
    reset = {step.action.side for step in steps if isinstance(step.action, SendRst)}
    if not reset:
        return steps
    return [step for step in steps if not (isinstance(step.action, SendFin) and step.action.side in reset)]
