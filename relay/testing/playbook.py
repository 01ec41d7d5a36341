"""Playbooks: what happens to one flow, line by line, and what its behaviours make of it.

A line is an event and all the steps that must follow it, in order. There is no socket and no waiting: the time is
`at_s` of each event, and chance is a list of numbers.

    def test_the_server_is_reset_after_a_minute() -> None:
        play(
            connected(HalfCloseLimit(after_s=60.0)),
            (FinReceived(5.0, Side.INTERNAL), [StartTimer("half-closed", 60.0)]),
            (TimerFired(65.0, "half-closed"), [SendRst(Side.EXTERNAL), Blackhole(Side.INTERNAL, at_most_s=900)]),
        )

A step is an action, whichever behaviour asked for it, or an action with that behaviour's name:
`(SendRst(Side.EXTERNAL), "half-close-limit")`. Only what would be performed is a step: as in the relay, an action on a
side that is over, or not connected yet, is dropped. That is why a flow begins with `connected`, or with the events
`ConnectRequested` and `DialSucceeded` in the presence of a behaviour that yields `Dial` and `Grant`.

A playbook rejects what cannot happen in the relay: time that goes back, a timer or an idle watch that was not started,
a timer that fires early, one that was due before the next event and did not fire, and a slot that was not asked for, or
not answered at once. (When a watch ends, and whether a slot is free, is up to the test: a playbook knows no traffic and
no other flow.)
"""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from itertools import zip_longest
from typing import Self, TypeAlias

from relay.actions import Action, Dial, Grant, StartTimer, TakeSlot, WatchIdle
from relay.address import Endpoint
from relay.behaviours import Behaviour, Lineup
from relay.behaviours.precomplete_handshake import PrecompleteHandshake
from relay.errors import BehaviourError
from relay.events import (
    ConnectRequested,
    DialSucceeded,
    Ending,
    Event,
    Side,
    SideName,
    SlotDenied,
    SlotTaken,
    TimerFired,
    WentIdle,
)
from relay.machine import FlowMachine, Step
from relay.profiles import Profile

__all__ = ["ExpectedStep", "Line", "Playbook", "connected", "play"]

__tracebackhide__ = True  # for pytest: what differs is in the test's own lines

ExpectedStep: TypeAlias = Action | tuple[Action, str]
"""An action, whichever behaviour asked for it; or an action and the name of that behaviour."""

Line: TypeAlias = tuple[Event, Sequence[ExpectedStep]]
"""An event, and every step that must follow it, in order."""

_DESTINATION = Endpoint("192.0.2.1", 80)  # RFC 5737: an address for documentation
_ROUNDING_S = 0.001  # of delays that are settings, against times that come from a capture


class Playbook:
    """One flow and its behaviours, for as long as a test plays it."""

    def __init__(self, behaviours: Behaviour | Iterable[Behaviour] | Profile) -> None:
        """A flow that has not asked for anything yet, with one behaviour, with several, or with a profile's."""
        if isinstance(behaviours, Profile):
            self._lineup = behaviours.lineup
        else:
            self._lineup = Lineup.of([behaviours] if isinstance(behaviours, Behaviour) else behaviours)
        self._machine = self._made(Side.INTERNAL)
        self._lines = 0
        self._now_s = float("-inf")
        self._due_s: dict[str, float] = {}
        self._watches: dict[str, float] = {}  # each begun at that time
        self._slots: dict[str, bool] = {}  # those that were asked for, and whether they may be waited for
        self._draws: deque[float] = deque()

    @property
    def initiator(self) -> Side:
        """Which side opened the flow: what `ConnectRequested`, as the first event, says; else the internal one."""
        return self._machine.initiator

    @property
    def answered(self) -> bool:
        """Whether the initiator was granted or refused its connection."""
        return self._machine.answered

    @property
    def over(self) -> bool:
        """Whether both sides are over and no dial is under way."""
        return self._machine.over

    @property
    def cause(self) -> str:
        """What began the flow's end, as `flow-ended` has it: a behaviour's name, `internal-peer`, ... or empty."""
        return self._machine.cause

    @property
    def endings(self) -> Mapping[Side, Ending]:
        """How each side ended, or began to end, and who made it so."""
        return self._machine.endings

    def is_over(self, side: Side | SideName) -> bool:
        """Whether nothing more can come from or go to this side: it has ended, or was never connected."""
        return self._machine.is_over(Side.named(side, where="is_over"))

    def can_send(self, side: Side | SideName) -> bool:
        """Whether bytes for this side can still be delivered."""
        return self._machine.can_send(Side.named(side, where="can_send"))

    def play(self, *lines: Line, chance: Iterable[float] = ()) -> Self:
        """Play these lines after those before, and return the playbook.

        `chance` has the numbers, from [0, 1), that the behaviours draw on the way, in order.

        Raises:
            AssertionError: other steps followed an event than expected, the event cannot happen then, or not every
                number was drawn.
            BehaviourError: a behaviour raised.
        """
        self._draws.extend(chance)
        for event, expected in lines:
            self._lines += 1
            self._play(event, expected)
        if self._draws:
            raise AssertionError(f"chance: no behaviour drew {', '.join(map(str, self._draws))}")
        return self

    def _play(self, event: Event, expected: Sequence[ExpectedStep]) -> None:
        where = f"line {self._lines} of the playbook, {_shown(event)}"
        if isinstance(event, ConnectRequested) and self._lines == 1:
            self._machine = self._made(event.initiator)
        try:
            event = self._in_time(event)
        except ValueError as error:
            raise AssertionError(f"{where}: {error}") from None
        over = [side for side in Side if self.is_over(side)]
        try:
            steps = self._machine.handle(event)
        except BehaviourError as error:
            error.add_note(f"in {where}")
            raise
        self._note_timers(event.at_s, steps)
        if not _agree(expected, steps):
            raise AssertionError(f"{where}: other steps than expected\n{_both(expected, steps, over)}")

    def _in_time(self, event: Event) -> Event:
        """The event as the machine takes it, if it can happen now; a `ValueError` says why it cannot."""
        if event.at_s < self._now_s:
            raise ValueError(f"time goes back: the line before is at {self._now_s:g} s")
        self._now_s = event.at_s
        if isinstance(event, TimerFired):
            name = _one_of(event.key, self._due_s, "timer")
            due_s = self._due_s.pop(name)
            if event.at_s < due_s - _ROUNDING_S:
                raise ValueError(f"the timer fires at {due_s:g} s, not before")
            event = TimerFired(event.at_s, name)
        elif isinstance(event, WentIdle):
            name = _one_of(event.key, self._watches, "watch")
            if event.since_s < self._watches.pop(name) - _ROUNDING_S:
                raise ValueError("the watch began after since_s")
            event = WentIdle(event.at_s, name, event.since_s)
        elif isinstance(event, SlotTaken | SlotDenied):
            name = _one_of(event.pool, self._slots, "slot", "was asked for")
            if self._slots.pop(name) and isinstance(event, SlotDenied):
                raise ValueError(f"a flow that waits for its turn is not denied its slot of {name!r}")
            event = type(event)(event.at_s, name)
        for name, waits in self._slots.items():
            if not waits and not isinstance(event, SlotTaken | SlotDenied):
                raise ValueError(f"the slot of {name!r} is taken or denied before: give that a line of its own")
        for name, due_s in self._due_s.items():
            if due_s < event.at_s - _ROUNDING_S:
                raise ValueError(f"the timer {name!r} fires before, at {due_s:g} s: give it a line of its own")
        return event

    def _note_timers(self, now_s: float, steps: Iterable[Step]) -> None:
        for action, because in steps:
            if isinstance(action, StartTimer):
                self._due_s[f"{because}/{action.key}"] = now_s + action.after_s
            elif isinstance(action, WatchIdle):
                self._watches[f"{because}/{action.key}"] = now_s
            elif isinstance(action, TakeSlot):
                self._slots[f"{because}/{action.pool}"] = action.wait
        if self.over:
            self._due_s.clear()
            self._slots.clear()

    def _made(self, initiator: Side) -> FlowMachine:
        return FlowMachine(self._lineup, initiator, self._give_chance if self._lineup.draws else None)

    def _give_chance(self, behaviour: Behaviour) -> None:
        behaviour.chance = self._draw

    def _draw(self) -> float:
        if not self._draws:
            raise LookupError("the playbook has no number left to draw: add one to chance=[...]")
        return self._draws.popleft()


def play(
    subject: Playbook | Behaviour | Iterable[Behaviour] | Profile, *lines: Line, chance: Iterable[float] = ()
) -> Playbook:
    """Play these lines with a new flow of these behaviours, or go on with a playbook; as `Playbook.play`."""
    return (subject if isinstance(subject, Playbook) else Playbook(subject)).play(*lines, chance=chance)


def connected(*behaviours: Behaviour, steps: Sequence[ExpectedStep] = (), chance: Iterable[float] = ()) -> Playbook:
    """A flow from the app to a server, connected at 0 s, with these behaviours from the beginning.

    What answers the app is a `precomplete-handshake` before them. `steps` are what they themselves do at 0 s.
    """
    return Playbook([PrecompleteHandshake(order="lockstep"), *behaviours]).play(
        (ConnectRequested(0.0, _DESTINATION, Side.INTERNAL), [Dial()]),
        (DialSucceeded(0.0), [Grant(), *steps]),
        chance=chance,
    )


def _one_of(key: str, running: Iterable[str], kind: str, so: str = "is running") -> str:
    """The name of the one that is running with this key, which may say whose it is: `BEHAVIOUR/KEY`."""
    if key in (names := list(running)):
        return key
    found = [name for name in names if name.partition("/")[2] == key]
    if len(found) == 1:
        return found[0]
    if found:
        raise ValueError(f"several behaviours have such a {kind}; name one: {', '.join(map(repr, found))}")
    raise ValueError(f"no such {kind} {so}; there are: {', '.join(map(repr, names)) or 'none'}")


def _agree(expected: Sequence[ExpectedStep], steps: Sequence[Step]) -> bool:
    return len(expected) == len(steps) and all(map(_agrees, expected, steps))


def _agrees(expected: ExpectedStep | None, step: Step | None) -> bool:
    if expected is None or step is None:
        return False
    return step == expected if isinstance(expected, tuple) else step.action == expected


def _both(expected: Sequence[ExpectedStep], steps: Sequence[Step], over: Sequence[Side]) -> str:
    """Both lists, one above the other; `>` is before each row that the other list has not in that place."""
    marks = ["   " if _agrees(*pair) else " > " for pair in zip_longest(expected, steps)]
    missing = [each[0] if isinstance(each, tuple) else each for each in expected]
    missing = [action for action in missing if action not in [step.action for step in steps]]
    dropped = [side for side in over if any(getattr(action, "side", None) is side for action in missing)]
    return "\n".join(
        [
            "expected:",
            *_rows(marks, expected),
            "came out:",
            *_rows(marks, steps),
            *(
                f"The {side.value} side was over, or not connected yet: an action on it is dropped (see connected)."
                for side in dropped
            ),
        ]
    )


def _rows(marks: Sequence[str], steps: Sequence[ExpectedStep]) -> list[str]:
    rows = [f"{_shown(step[0])}, by {step[1]}" if isinstance(step, tuple) else _shown(step) for step in steps]
    return [mark + row for mark, row in zip(marks, rows, strict=False)] or [" > nothing"]


def _shown(value: object) -> str:
    """A value as a test would write it: `Side.INTERNAL`, not `<Side.INTERNAL: 'internal'>`."""
    return re.sub(r"<(\w+\.\w+): [^>]*>", r"\1", repr(value))
