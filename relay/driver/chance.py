"""Random draws that are repeatable: a flow's draws follow from the relay's seed and the flow's number alone."""

from __future__ import annotations

import random
from collections.abc import Callable
from functools import partial

from relay.behaviours import Behaviour
from relay.driver.flow_log import FlowLog
from relay.events import Side


def draws_of_line(seed: int, number: int, side: Side) -> Callable[[], float]:
    """The draws for one direction of a flow, as many as there are pieces: they are not recorded."""
    return random.Random(f"{seed}/{number}/{side.value}").random  # noqa: S311 - meant to be repeatable


def drawn_once(log: FlowLog, seed: int, number: int, name: str, share: float, *, because: str = "") -> bool:
    """Whether a flow is in the share of those that have something of this name.

    A flow draws once, whenever it is asked, and the draw is recorded: a share that is changed holds for the same flows.
    `because` is what the record calls it, if that is not its name.
    """
    if share in {0, 1}:
        return share == 1
    value = random.Random(f"{seed}/{number}/{name}").random()  # noqa: S311 - meant to be repeatable
    log.write("chance-drawn", value=value, because=because or name)
    return value < share


class Chance:
    """One flow's draws, for those of its behaviours that draw."""

    __slots__ = ("_generator", "_log")

    def __init__(self, log: FlowLog, seed: int, number: int) -> None:
        self._log = log
        self._generator = random.Random(f"{seed}/{number}")  # noqa: S311 - meant to be repeatable

    def give_to(self, behaviour: Behaviour) -> None:
        """Let a behaviour draw; each draw is recorded."""
        object.__setattr__(behaviour, "chance", partial(self._draw, behaviour.name))  # it may be frozen

    def _draw(self, because: str) -> float:
        value = self._generator.random()
        self._log.write("chance-drawn", value=value, because=because)
        return value
