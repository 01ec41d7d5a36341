"""What is left to chance, repeatable: a flow's draws follow from the relay's seed and the flow's number alone."""

from __future__ import annotations

import random
from collections.abc import Iterable
from functools import partial

from relay.behaviours import Behaviour
from relay.driver.journal import Journal


def give_chance(behaviours: Iterable[Behaviour], journal: Journal, seed: int, number: int) -> None:
    """Let the behaviours of one flow that draw, draw; each draw is recorded."""
    drawing = [behaviour for behaviour in behaviours if behaviour.draws]
    if drawing:
        generator = random.Random(f"{seed}/{number}")  # noqa: S311 - meant to be repeatable
        for behaviour in drawing:
            behaviour.chance = partial(_draw, generator, journal, behaviour.name)


def _draw(generator: random.Random, journal: Journal, because: str) -> float:
    value = generator.random()
    journal.write("chance-drawn", value=value, because=because)
    return value
