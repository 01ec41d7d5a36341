"""A flow's behaviours, asked about each event, and what is possible of their answers.

The machine has no rules of its own about what a NAT does. It asks the flow's behaviours, in the profile's order, and
drops what is impossible from their answers:

* an action on a side that is over, or was never there, is dropped; so is a second FIN, grant or refusal;
* what was asked for together with a slot waits until the slot is taken, and is dropped if it is denied;
* of a FIN and a RST for the same side in one answer the RST stays, and of refusals the one that is meant instead;
* each action that stays carries the name of the behaviour that asked for it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import NamedTuple

from relay.actions import AbandonDial, Action, Forget, SendFin, SendRst, TakeSlot
from relay.behaviours import Behaviour, Lineup
from relay.causes import How
from relay.errors import BehaviourError
from relay.events import Event, InitiatorVanished, Side, SlotDenied, SlotTaken, TimerFired, WentIdle
from relay.machine.merging import merged
from relay.machine.sides import DEAD, FlowSides
from relay.machine.step import Step

_OWNED = frozenset({TimerFired, WentIdle, SlotTaken, SlotDenied})


class _PutOff(NamedTuple):
    """What waits for slots."""

    slots: tuple[str, ...]
    """Those that have not come, by behaviour and pool."""
    steps: tuple[Step, ...]


_NOTHING = _PutOff((), ())


class FlowMachine(FlowSides):
    """Feed it events in order with `handle`; perform the steps it returns, in order, before the next event."""

    __slots__ = ("_behaviours", "_dropped", "_lineup", "_prepare", "_put_off")

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
        super().__init__(initiator)
        self._lineup = behaviours if isinstance(behaviours, Lineup) else Lineup.of(behaviours)
        self._behaviours: list[Behaviour | None] = [None] * len(self._lineup.kinds)
        self._prepare = prepare
        self._dropped = dropped
        self._put_off = _NOTHING

    def handle(self, event: Event) -> list[Step]:
        """Take in one event and return what to do about it.

        Raises:
            BehaviourError: a behaviour raised; the flow is to be ended with `end`.
        """
        initiator_was_over = self._dialling and self.is_over(self.initiator)  # without the initiator no dial begins
        self.observe(event)
        requested = self._requested(event)
        if self._put_off.slots:
            requested = self._released(event, requested)
        if len(requested) > 1:
            requested = merged(self._hold(requested))
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
        """Give a flow of datagrams up: the steps that silently end whatever is not over yet."""
        steps = [Step(Forget(side, "silence", 0.0), because) for side in Side]
        if self._dialling:
            steps.insert(0, Step(AbandonDial(), because))
        return self._possible(steps)

    def hand_over(self, because: str) -> list[Step]:
        """Give the flow up, but for the initiator's connection, which serves another: the steps that end the rest."""
        if not self.is_over(self.initiator):
            self._end_side(self.initiator, DEAD, How.HANDED_OVER, because)
        return self.end(because, in_order=True)

    @property
    def waits(self) -> bool:
        """Whether something that was asked for waits for a slot."""
        return bool(self._put_off.steps)

    def _requested(self, event: Event) -> list[Step]:
        """What the behaviours make of an event, possible or not."""
        kind, seen = type(event), event
        asked = self._lineup.handlers.get(kind, ())
        if kind in _OWNED:
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
        awaited = tuple(f"{because}/{action.pool}" for action, because in slots if isinstance(action, TakeSlot))
        held = tuple(step for step in requested if not isinstance(step.action, TakeSlot))
        self._put_off = _PutOff(self._put_off.slots + awaited, self._put_off.steps + held)
        return slots

    def _released(self, event: Event, requested: list[Step]) -> list[Step]:
        """Add what was put off, if this event brings the last slot that it has waited for."""
        awaited, held = self._put_off
        if isinstance(event, SlotDenied) and event.pool in awaited:
            self._put_off = _NOTHING
        elif isinstance(event, SlotTaken):
            awaited = tuple(pool for pool in awaited if pool != event.pool)
            self._put_off = _PutOff(awaited, held) if awaited else _NOTHING
            if not awaited:
                requested = [*held, *requested]
        return requested

    def _make(self, place: int) -> Behaviour:
        behaviour = self._behaviours[place] = self._lineup.makers[place]()
        if self._prepare is not None:
            self._prepare(behaviour)
        return behaviour

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


def _owned(event: Event) -> tuple[str, Event]:
    """Whose event it is that one behaviour alone sees, and the event by that behaviour's own name for it."""
    if isinstance(event, SlotTaken | SlotDenied):
        owner, _, pool = event.pool.partition("/")
        return owner, replace(event, pool=pool)
    assert isinstance(event, TimerFired | WentIdle)  # noqa: S101 - see `_OWNED`
    owner, _, key = event.key.partition("/")
    return owner, replace(event, key=key)
