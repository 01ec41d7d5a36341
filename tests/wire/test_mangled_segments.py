"""Mangled segments and whatever an owner does meanwhile: no exception, no forbidden answer, no growth."""

from __future__ import annotations

import os
import random
from collections import Counter

import pytest

from fuzz.targets.segments import run_program

SEGMENTS = 1_000_000 if os.environ.get("RELAY_SOAK") else 20_000
LONGEST_BYTES = 3000  # of a program: some 200 segments, unless one of them ends the connection


@pytest.mark.soak
@pytest.mark.timeout(900)
@pytest.mark.parametrize("seed", [1, 2])
def test_no_segment_makes_the_connection_break_a_rule(seed: int) -> None:
    chance = random.Random(seed)  # noqa: S311 - to be repeated
    arrived, outcomes = 0, Counter[str]()
    while arrived < SEGMENTS:
        program = chance.randbytes(chance.randrange(20, LONGEST_BYTES))
        try:
            segments, outcome = run_program(program)
        except Exception as fault:
            fault.add_note(f"program: {program.hex()}")
            raise
        arrived += segments
        outcomes[outcome] += 1
    assert len(outcomes) > 30  # they get everywhere
