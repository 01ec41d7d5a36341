"""The assembler: whatever arrives in whatever order, it knows what is there."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from relay.wire.assembler import MOST_RANGES, Assembler

RANGES = st.lists(st.tuples(st.integers(0, 200), st.integers(1, 60)).map(lambda r: (r[0], r[0] + r[1])), max_size=40)


@given(RANGES)
def test_it_knows_what_a_set_of_positions_knows(ranges: list[tuple[int, int]]) -> None:
    assembler, there = Assembler(0), set[int]()
    for start, end in ranges:
        assert assembler.insert(start, end)
        there |= set(range(start, end))
        following = next(position for position in range(400) if position not in there)
        assert assembler.next == following
        beyond = sorted(position for position in there if position > following)
        assert assembler.gaps == sum(position - 1 not in there for position in beyond)


@given(RANGES, st.randoms(use_true_random=False))
def test_the_order_of_arrival_does_not_matter(ranges: list[tuple[int, int]], chance: object) -> None:
    one, other = Assembler(0), Assembler(0)
    for start, end in ranges:
        one.insert(start, end)
    for start, end in sorted(ranges, key=lambda _: chance.random()):  # type: ignore[attr-defined]
        other.insert(start, end)
    assert (one.next, one.gaps) == (other.next, other.gaps)


def test_it_remembers_only_so_many_gaps_and_never_refuses_what_comes_next() -> None:
    assembler = Assembler(0)
    for number in range(1, MOST_RANGES + 1):
        assert assembler.insert(10 * number, 10 * number + 5)
    assert not assembler.insert(10_000, 10_005)
    assert assembler.gaps == MOST_RANGES
    assert assembler.insert(12, 14)  # within what is there
    assert assembler.insert(15, 20)  # joins two
    assert assembler.insert(10_000, 10_005)
    assert assembler.insert(0, 10)
    assert assembler.next == 25
    assert assembler.insert(0, 20_000)
    assert (assembler.next, assembler.gaps) == (20_000, 0)
