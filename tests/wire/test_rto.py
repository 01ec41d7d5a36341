"""The retransmission timeout, by RFC 6298."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay.wire.rto import Rto


def test_the_first_and_the_second_measurement() -> None:
    rto = Rto(0.01)
    rto.measure(0.2)
    assert rto.value_s == pytest.approx(0.2 + 4 * 0.1)
    rto.measure(0.4)
    variation_s = 0.75 * 0.1 + 0.25 * 0.2
    assert rto.value_s == pytest.approx(0.875 * 0.2 + 0.125 * 0.4 + 4 * variation_s)


@given(st.lists(st.floats(0, 1000), max_size=20), st.integers(0, 20), st.floats(0.01, 60))
def test_it_stays_within_its_bounds_and_settles(measured_s: list[float], backed_off: int, first_s: float) -> None:
    rto = Rto(first_s)
    for round_trip_s in measured_s:
        rto.measure(round_trip_s)
    settled_s = rto.value_s
    for _ in range(backed_off):
        before_s = rto.value_s
        rto.back_off()
        assert rto.value_s == min(2 * before_s, 60)
    assert first_s <= rto.value_s <= 60
    rto.settle()
    assert rto.value_s == settled_s


def test_after_a_lost_syn_it_is_three_seconds_until_something_is_measured() -> None:
    rto = Rto(0.1)
    rto.back_off()
    rto.recover_from_lost_syn()
    assert rto.value_s == 3.0
    rto.measure(0.001)
    assert rto.value_s == 0.1
