"""Which way a fault is: the words that several behaviours' settings have in common."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from relay.actions import SetShape
from relay.events import Side
from relay.settings import setting
from relay.shape import Shape

DIRECTIONS = ("both", "to-app", "to-server")


def direction_setting(default: str = "both") -> Any:
    """A setting that says what a fault acts on: what goes to the app, to the server, or both."""
    return setting(default, choices=DIRECTIONS, doc="which way the fault is: what goes to the app, to the server, both")


def sides(direction: str) -> tuple[Side, ...]:
    """The sides toward which a direction leads."""
    return {"to-app": (Side.INTERNAL,), "to-server": (Side.EXTERNAL,)}.get(direction, (Side.EXTERNAL, Side.INTERNAL))


def shaped(direction: str, shape: Shape) -> Iterable[SetShape]:
    """The actions that give what goes this way a shape."""
    return (SetShape(side, shape) for side in sides(direction))
