"""Mappings: when they begin and end."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay.wire.mappings import Close, End, Mappings, Open

ONE, TWO, THREE = (End(0xC0A81B80, number) for number in (1, 2, 3))


@pytest.mark.parametrize(("last_used_s", "ends_s"), [(0.0, 60.0), (0.1, 120.0), (59.9, 120.0), (60.0, 120.0)])
def test_a_mapping_ends_after_its_idle_time_to_twice_as_long(last_used_s: float, ends_s: float) -> None:
    mappings = Mappings(60.0, 10)
    assert mappings.use(ONE, 0.0) == [Open(ONE)]
    if last_used_s == 60.0:
        assert mappings.touch(ONE, 59.95)
        assert mappings.next_sweep_s == 60.0
        assert mappings.sweep(60.0) == []
    mappings.touch(ONE, last_used_s)
    while mappings.next_sweep_s is not None:
        now_s = mappings.next_sweep_s
        if mappings.sweep(now_s):
            break
    assert now_s == ends_s
    assert not mappings.touch(ONE, now_s)
    assert mappings.use(ONE, now_s) == [Open(ONE)]


def test_use_opens_it_once() -> None:
    mappings = Mappings(60.0, 10)
    assert mappings.use(ONE, 0.0) == [Open(ONE)]
    assert mappings.use(ONE, 1.0) == []
    assert len(mappings) == 1


def test_the_one_that_was_idle_longest_makes_room() -> None:
    mappings = Mappings(60.0, 2)
    mappings.use(ONE, 0.0)
    mappings.use(TWO, 1.0)
    mappings.touch(ONE, 2.0)
    assert mappings.use(THREE, 3.0) == [Close(TWO), Open(THREE)]
    assert len(mappings) == 2


def test_an_idle_time_of_nothing_is_for_ever() -> None:
    mappings = Mappings(0.0, 10)
    mappings.use(ONE, 0.0)
    assert mappings.next_sweep_s is None


def test_what_was_forgotten_has_no_deadline_and_no_end() -> None:
    mappings = Mappings(60.0, 10)
    mappings.use(ONE, 0.0)
    mappings.forget(ONE)
    assert mappings.sweep(60.0) == []
    assert mappings.next_sweep_s is None


@given(st.lists(st.tuples(st.floats(0, 50), st.sampled_from([ONE, TWO, THREE])), max_size=40))
def test_at_every_moment_what_was_used_within_the_idle_time_is_mapped(uses: list[tuple[float, End]]) -> None:
    mappings = Mappings(60.0, 10)
    now_s, used_at_s = 0.0, dict[End, float]()
    for wait_s, end in uses:
        now_s += wait_s
        while mappings.next_sweep_s is not None and mappings.next_sweep_s <= now_s:
            at_s = mappings.next_sweep_s
            for step in mappings.sweep(at_s):
                assert at_s - used_at_s.pop(step.end) >= 60.0
        assert all(now_s - used_s < 120.0 for used_s in used_at_s.values())
        assert mappings.use(end, now_s) == ([] if end in used_at_s else [Open(end)])
        used_at_s[end] = now_s
        assert len(mappings) == len(used_at_s)
