"""One direction of a connection by itself: how much passes at once, and from when on the next may."""

from __future__ import annotations

import pytest

from relay.legs.line import HELD_BYTES, Line
from relay.shape import Shape


def line(shape: Shape, *draws: float) -> Line:
    """A line with these draws and no more."""
    left = iter(draws)
    made = Line(lambda: next(left))
    made.shape = shape
    return made


@pytest.mark.parametrize(
    ("shape", "passes"),
    [
        (Shape(), True),
        (Shape(slice_bytes=10), True),
        (Shape(slice_bytes=9), False),
        (Shape(limit_bytes=10), True),
        (Shape(limit_bytes=9), False),
        (Shape(stall=True), False),
        (Shape(delay_s=1), False),
        (Shape(jitter_s=1), False),
        (Shape(slice_bytes=20, slice_variation_bytes=1), False),
        (Shape(end_delay_s=1), True),
    ],
)
def test_ten_bytes_pass_at_once_where_nothing_holds_or_cuts_them(shape: Shape, passes: bool) -> None:
    assert line(shape).passes_at_once(10, 5.0) is passes


def test_a_line_is_not_free_until_what_passed_before_has() -> None:
    of = line(Shape(rate_bytes_per_s=10_000))
    of.take(1000, due_s=5.0, now_s=5.0)
    assert [of.passes_at_once(1, now_s) for now_s in (5.05, 5.1, 5.2)] == [False, True, True]
    assert of.due_s(4.0, 0.0, is_end=False) == pytest.approx(5.1)
    of.take(1000, due_s=5.1, now_s=9.0)
    assert of.due_s(4.0, 0.0, is_end=False) == pytest.approx(9.0), "it makes up for a tenth of a second"
    assert (of.passed_bytes, of.is_at_limit) == (2000, False)


@pytest.mark.parametrize(("draw", "size"), [(0.0, 6), (0.5, 10), (0.999, 14)])
def test_a_slice_that_varies_is_drawn_and_no_other_is(draw: float, size: int) -> None:
    assert line(Shape(slice_bytes=10, slice_variation_bytes=4), draw).piece_bytes(100) == size
    assert line(Shape(slice_bytes=10)).piece_bytes(100) == 10
    assert line(Shape(slice_bytes=2, slice_variation_bytes=4), 0.0).piece_bytes(100) == 1


def test_a_pause_follows_each_slice_and_none_follows_where_there_are_none() -> None:
    for slice_bytes, free_s in ((10, 3.0), (0, 1.0)):
        of = line(Shape(slice_bytes=slice_bytes, slice_delay_s=2.0))
        of.take(10, due_s=1.0, now_s=1.0)
        assert of.due_s(0.0, 0.0, is_end=False) == free_s


def test_what_is_written_is_due_by_its_delay_its_lag_and_its_end() -> None:
    of = line(Shape(delay_s=2.0, jitter_s=0.5, end_delay_s=4.0), 0.75)
    lag = of.draw_lag()
    assert lag == 0.5
    assert of.due_s(1.0, lag, is_end=False) == 3.25
    assert of.due_s(1.0, lag, is_end=True) == 7.25
    assert line(Shape(delay_s=0.1, jitter_s=1.0)).due_s(1.0, -1.0, is_end=False) == 1.0, (
        "nothing comes before it is sent"
    )
    assert line(Shape(delay_s=2.0)).draw_lag() == 0.0


def test_a_limit_counts_what_has_passed_and_a_stall_lets_nothing_pass() -> None:
    of = line(Shape(limit_bytes=15))
    of.take(10, due_s=0.0, now_s=0.0)
    assert (of.passing_bytes(10), of.piece_bytes(10), of.is_at_limit) == (5, 5, False)
    of.take(5, due_s=0.0, now_s=0.0)
    assert (of.passing_bytes(10), of.is_at_limit) == (0, True)
    of.shape = Shape(limit_bytes=3)
    assert (of.passing_bytes(10), of.is_at_limit) == (0, True)
    of.shape = Shape(stall=True)
    assert (of.passing_bytes(10), of.is_at_limit) == (0, False)


def test_a_slow_line_holds_a_quarter_of_a_second_and_what_its_delay_keeps_on_the_way() -> None:
    held = [line(Shape(rate_bytes_per_s=rate)).most_held_bytes for rate in (0, 400_000, 10**9)]
    assert held == [HELD_BYTES, 100_000, HELD_BYTES]
    slow = line(Shape(rate_bytes_per_s=400_000, delay_s=0.5)).most_held_bytes
    assert slow == 100_000 + 200_000
    assert 0 < line(Shape(rate_bytes_per_s=1)).most_held_bytes < 100_000
