"""The behaviours of a profile, in its order, ready to be made for each flow."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from copy import copy
from functools import cached_property
from typing import Any, NamedTuple

from relay.abilities import Want
from relay.actions import Action
from relay.behaviours._api import Behaviour
from relay.behaviours._when import ALWAYS, When
from relay.events import Event


class Asked(NamedTuple):
    """A behaviour that handles an event."""

    place: int
    """Which of the lineup it is, from 0."""
    handler: str
    """Its method's name."""
    name: str
    shared: Callable[[Any], Iterable[Action]] | None
    """The method itself, of the one instance that serves all flows: that of a frozen dataclass, which keeps nothing."""


class Conditional(NamedTuple):
    """A behaviour that is not there for every flow."""

    place: int
    """Which of the lineup it is, from 0."""
    name: str
    when: When


class Lineup:
    """Which behaviours a flow asks about which event, and how each is made.

    Shared by all flows of a profile. A flow makes an instance of its own when the first event comes that the behaviour
    handles: most flows never meet most of theirs, and 10,000 idle flows keep what was made. A behaviour that is a
    frozen dataclass, and leaves nothing to chance, keeps nothing about a flow; one instance serves all flows.

    Where behaviours have conditions a flow begins with `unconditional`, and goes on with what `having` gives.
    """

    def __init__(
        self,
        kinds: Iterable[type[Behaviour]],
        makers: Iterable[Callable[[], Behaviour]],
        whens: Sequence[When] = (),
    ) -> None:
        """`whens` has the conditions of each; without it there are none."""
        self.kinds = tuple(kinds)
        self.makers = tuple(makers)
        self.draws = any(kind.draws for kind in self.kinds)
        """Whether any of them leaves something to chance."""
        self.conditional = tuple(
            Conditional(place, self.kinds[place].name, when) for place, when in enumerate(whens) if when != ALWAYS
        )
        """Those that have conditions."""
        self.names_process = any(each.when.process for each in self.conditional)
        """Whether a condition is about the app's process."""
        handlers: dict[type[Event], list[Asked]] = {}
        for index, (kind, make) in enumerate(zip(self.kinds, self.makers, strict=True)):
            shared = make() if _keeps_nothing(kind) else None
            for event, handler in kind.handled.items():
                asked = Asked(index, handler, kind.name, getattr(shared, handler, None))
                handlers.setdefault(event, []).append(asked)
        self.handlers: Mapping[type[Event], tuple[Asked, ...]] = {
            event: tuple(found) for event, found in handlers.items()
        }
        """Who is asked about each kind of event, in order."""
        self.places = frozenset(range(len(self.kinds)))
        """Which of the kinds are in it: all of them, but for what `having` has left out."""
        self._having: dict[frozenset[int], Lineup] = {frozenset(each.place for each in self.conditional): self}

    @classmethod
    def of(cls, behaviours: Iterable[Behaviour]) -> Lineup:
        """Line up instances that are made already, for one flow."""
        made = tuple(behaviours)
        return cls(map(type, made), map(_maker_of, made))

    @property
    def unconditional(self) -> Lineup:
        """The same without those that have conditions."""
        return self.having(frozenset()) if self.conditional else self

    def having(self, places: frozenset[int]) -> Lineup:
        """The same with those alone, of all that have conditions, that are in these places.

        Each has the place that it has here, so a flow may go on with it.
        """
        if (found := self._having.get(places)) is None:
            found = self._having[places] = copy(self)
            found.places = self.places - {each.place for each in self.conditional} | places
            found.handlers = {
                event: here
                for event, asked in self.handlers.items()
                if (here := tuple(each for each in asked if each.place in found.places))
            }
            vars(found).pop("wants", None)  # a cached property's value
        return found

    @cached_property
    def wants(self) -> tuple[Want, ...]:
        """What they want of a leg, each want once."""
        made = (make() for place, make in enumerate(self.makers) if place in self.places)
        return tuple(dict.fromkeys(want for behaviour in made for want in behaviour.wants()))


def _keeps_nothing(kind: type[Behaviour]) -> bool:
    parameters = getattr(kind, "__dataclass_params__", None)
    return parameters is not None and parameters.frozen and not kind.draws


def _maker_of(behaviour: Behaviour) -> Callable[[], Behaviour]:
    return lambda: behaviour
