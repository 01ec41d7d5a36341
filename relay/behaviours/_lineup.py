"""The behaviours of a profile, in its order, ready to be made for each flow."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import NamedTuple

from relay.behaviours._api import Behaviour
from relay.events import Event


class Asked(NamedTuple):
    """A behaviour that handles an event."""

    place: int
    """Which of the lineup it is, from 0."""
    handler: str
    """Its method's name."""
    name: str


class Lineup:
    """Which behaviours a flow asks about which event, and how each is made.

    Shared by all flows of a profile. A flow makes an instance of its own when the first event comes that the behaviour
    handles: most flows never meet most of theirs, and 10,000 idle flows keep what was made.
    """

    def __init__(self, kinds: Iterable[type[Behaviour]], makers: Iterable[Callable[[], Behaviour]]) -> None:
        self.kinds = tuple(kinds)
        self.makers = tuple(makers)
        self.draws = any(kind.draws for kind in self.kinds)
        """Whether any of them leaves something to chance."""
        handlers: dict[type[Event], list[Asked]] = {}
        for index, kind in enumerate(self.kinds):
            for event, handler in kind.handled.items():
                handlers.setdefault(event, []).append(Asked(index, handler, kind.name))
        self.handlers: Mapping[type[Event], tuple[Asked, ...]] = {
            event: tuple(found) for event, found in handlers.items()
        }
        """Who is asked about each kind of event, in order."""

    @classmethod
    def of(cls, behaviours: Iterable[Behaviour]) -> Lineup:
        """Line up instances that are made already, for one flow."""
        made = tuple(behaviours)
        return cls(map(type, made), map(_maker_of, made))


def _maker_of(behaviour: Behaviour) -> Callable[[], Behaviour]:
    return lambda: behaviour
