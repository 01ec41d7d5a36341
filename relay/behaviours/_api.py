"""How a behaviour is written.

A behaviour is a dataclass: its fields are its settings, its `on_<event>` methods its rules. One instance serves one
flow, so what a rule must remember is an ordinary attribute. A behaviour that remembers nothing is better frozen: then
one instance serves all flows. A handler takes the event and yields actions.

    @dataclass(frozen=True)
    class Reminder(Behaviour):
        after_s: float = setting(3.0, low=0, doc="how long to wait, in seconds")

        def on_dial_succeeded(self, event: DialSucceeded) -> Actions:
            yield StartTimer("reminder", self.after_s)

        def on_timer_fired(self, event: TimerFired) -> Actions:
            yield Note("still here?")

Its name is its class's, in kebab case: `reminder`. What it wants of a leg follows from the handlers it has; a handler
whose name fits no event is a `TypeError` at import. Guarantees: events come in order and one at a time, and
`on_timer_fired` only for timers of one's own. Not guaranteed: that any event comes at all (a host may not see it).

Behaviours are pure: no sockets, clocks or randomness. Time is in the events, waiting is `StartTimer`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from types import MappingProxyType
from typing import ClassVar, NamedTuple, TypeAlias

from relay import events
from relay.abilities import Ability, Want
from relay.actions import Action
from relay.deprecation import warn_of_former_name
from relay.events import Event

Actions: TypeAlias = Iterable[Action]


def _words(camel: str, joint: str) -> str:
    return re.sub(r"(?<!^)(?=[A-Z])", joint, camel).lower()


HANDLERS: Mapping[str, type[Event]] = MappingProxyType(
    {
        f"on_{_words(name, '_')}": event
        for name, event in vars(events).items()
        if isinstance(event, type) and issubclass(event, Event) and event is not Event
    }
)
"""Every handler a behaviour may have, and the event it is called with."""

_WANT_BEHIND: Mapping[type[Event], Want] = {
    events.TosChanged: Want(Ability.TOS),
    events.ProbeArrived: Want(Ability.KEEPALIVE),
    events.ProbeAnswered: Want(Ability.PROBE, external=True),
    events.ConnectRequested: Want(Ability.HANDSHAKE),
    events.InitiatorVanished: Want(Ability.HANDSHAKE),
    events.FinReceived: Want(Ability.CLOSE),
    events.RstReceived: Want(Ability.CLOSE),
}
_REMOVED = {"needs": "wants", "withheld_tos_bits": "wants"}
_FORMER_HANDLERS = {"on_opener_vanished": "on_initiator_vanished"}  # for one release they are called all the same


class Conflict(NamedTuple):
    """Settings that contradict each other."""

    says: str
    """Which they are, and why; in an error it follows the behaviour's name."""
    hint: str
    """What to do about it."""


class Behaviour:
    """A rule from events to actions; subclass it as a dataclass."""

    name: ClassVar[str]
    """What profiles, `--set` and the event log call it."""
    aliases: ClassVar[tuple[str, ...]] = ()
    """What profiles and `--set` may call it as well."""
    handled: ClassVar[Mapping[type[Event], str]]
    """The events it has a handler for, and the handlers' names."""

    indispensable: ClassVar[bool] = False
    """Whether no connection works without it: then it takes no `when`."""

    draws: ClassVar[bool] = False
    """Whether it leaves anything to chance; one that does says so, and calls `chance`."""
    chance: Callable[[], float]
    """Draws a number from [0, 1), from the relay's seeded generator; each draw is in the event log."""

    def __init_subclass__(cls) -> None:
        super().__init_subclass__()
        cls.name = _words(cls.__name__, "-")
        names = [name for name in dir(cls) if name.startswith("on_")]
        handled: dict[type[Event], str] = {}
        for name in names:
            current = _FORMER_HANDLERS.get(name, name)
            if current is not name:
                warn_of_former_name(f"{cls.__name__}.{name}", current, stacklevel=2)
            if current not in HANDLERS:
                raise TypeError(f"{cls.__name__}.{name} handles no event; there are: {', '.join(sorted(HANDLERS))}")
            handled[HANDLERS[current]] = name
        for former, current in _REMOVED.items():
            if hasattr(cls, former):
                raise TypeError(f"{cls.__name__}.{former} has no effect; say it with {current}() (relay.abilities)")
        cls.handled = handled

    def wants(self) -> Iterable[Want]:
        """The abilities without which this behaviour, as it is set, cannot do what it says.

        Asked once for a profile. By default they follow from the handlers.
        """
        return dict.fromkeys(want for event, want in _WANT_BEHIND.items() if event in self.handled)

    def conflict(self, beside: Mapping[str, Behaviour]) -> Conflict | None:
        """What in its settings contradicts the others, or the behaviours of its profile, by name; None if nothing does.

        Asked once for a profile: with a conflict it is not loaded.
        """
        return None

    def in_short(self) -> Mapping[str, str]:
        """What it does as it is set, in a word or two for each column of `relay profiles` that it decides.

        The columns are `relay.profiles.COLUMNS`. Of two behaviours that decide one, the later in the profile counts.
        """
        return {}

    def idle_limit_s(self) -> float | None:
        """The longest time without traffic, in seconds, after which it has acted; None: it never acts on that."""
        return None
