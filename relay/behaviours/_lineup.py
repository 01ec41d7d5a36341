"""The behaviours of a profile, in its order, ready to be made for each flow."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any, NamedTuple

from relay.actions import Action
from relay.behaviours._api import Behaviour
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


class Lineup:
    """Which behaviours a flow asks about which event, and how each is made.

    Shared by all flows of a profile. A flow makes an instance of its own when the first event comes that the behaviour
    handles: most flows never meet most of theirs, and 10,000 idle flows keep what was made. A behaviour that is a
    frozen dataclass, and leaves nothing to chance, keeps nothing about a flow; one instance serves all flows.
    """

    def __init__(self, kinds: Iterable[type[Behaviour]], makers: Iterable[Callable[[], Behaviour]]) -> None:
        self.kinds = tuple(kinds)
        self.makers = tuple(makers)
        self.draws = any(kind.draws for kind in self.kinds)
        """Whether any of them leaves something to chance."""
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

    @classmethod
    def of(cls, behaviours: Iterable[Behaviour]) -> Lineup:
        """Line up instances that are made already, for one flow."""
        made = tuple(behaviours)
        return cls(map(type, made), map(_maker_of, made))


def _keeps_nothing(kind: type[Behaviour]) -> bool:
    parameters = getattr(kind, "__dataclass_params__", None)
    return parameters is not None and parameters.frozen and not kind.draws


def _maker_of(behaviour: Behaviour) -> Callable[[], Behaviour]:
    return lambda: behaviour
