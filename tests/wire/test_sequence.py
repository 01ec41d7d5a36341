"""Sequence numbers wrap; positions do not."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from relay.wire.sequence import MASK, position

POSITIONS = st.integers(-(1 << 33), 1 << 40)


@given(POSITIONS, st.integers(-(1 << 31), (1 << 31) - 1))
def test_the_nearest_position_has_the_number_and_is_near(near: int, distance: int) -> None:
    assert position(near + distance & MASK, near) == near + distance


def test_where_it_wraps() -> None:
    assert position(5, 0xFFFF_FFF0) == 0x1_0000_0005
    assert position(0xFFFF_FFF0, 0x1_0000_0005) == 0xFFFF_FFF0
    assert position(0x8000_0000, 0) == -0x8000_0000
