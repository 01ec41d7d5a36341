"""Initial sequence numbers: random ones of a given width, and those by clock and secret (RFC 9293 MUST-8, SHLD-1)."""

from __future__ import annotations

import random

from hypothesis import given
from hypothesis import strategies as st

from relay.stack import Stack
from relay.wire.isn import Isn

ENDS = (0xC0A87F80, 40_000, 0xC0000201, 80)
OTHERS = (0xC0A87F80, 40_001, 0xC0000201, 80)


def picker(isn: str, bits: int = 32, seed: int = 7) -> Isn:
    return Isn(Stack(isn=isn, isn_bits=bits), random.Random(seed).getrandbits)  # noqa: S311 - repeatable


@given(st.integers(16, 32))
def test_random_ones_have_their_width_and_no_relation_to_time(bits: int) -> None:
    isn = picker("random", bits)
    picked = [isn.pick(ENDS, 1.0) for _ in range(200)]
    assert len(set(picked)) > 190
    assert 2 ** (bits - 1) < max(picked) < 2**bits


def test_random_ones_follow_from_the_seed() -> None:
    assert picker("random").pick(ENDS, 1.0) == picker("random").pick(ENDS, 2.0)
    assert picker("random").pick(ENDS, 1.0) != picker("random", seed=8).pick(ENDS, 1.0)


def test_must_8_the_clock_ticks_every_4_microseconds() -> None:
    isn = picker("clock")
    assert isn.pick(ENDS, 10.0) - isn.pick(ENDS, 9.0) == 250_000
    assert isn.pick(ENDS, 10.0) == isn.pick(ENDS, 10.0)
    cycle_s = 2**32 * 4e-6
    assert isn.pick(ENDS, 8 + cycle_s) == isn.pick(ENDS, 8)


def test_shld_1_other_ends_or_another_secret_have_another_number() -> None:
    isn = picker("clock")
    assert isn.pick(ENDS, 9.0) != isn.pick(OTHERS, 9.0)
    assert isn.pick(ENDS, 9.0) != picker("clock", seed=8).pick(ENDS, 9.0)
