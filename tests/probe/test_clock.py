"""What a probe's clock knows of its own error."""

from __future__ import annotations

import math

import anyio
import pytest

from relay.clock import real_s
from relay.probe.clock import ProbeClock

pytestmark = pytest.mark.anyio
_HELD_UP_S = 0.1


def hold_up() -> None:
    """Keep the event loop from its turns."""
    until_s = real_s() + _HELD_UP_S
    while real_s() < until_s:
        pass


@pytest.mark.parametrize("scale", [1.0, 1000.0])
async def test_what_is_noted_after_the_event_loop_was_held_up_may_be_so_late(scale: float) -> None:
    clock = ProbeClock(scale)
    assert clock.error_s() == math.inf
    async with clock.beating():
        await anyio.sleep(0.02)
        hold_up()
        held_up_s = clock.error_s()
        assert held_up_s >= _HELD_UP_S * scale
        for _ in range(200):
            await anyio.sleep(0.01)
            if clock.error_s() < held_up_s / 2:
                break
        else:
            pytest.fail("its error stays what it was")
    assert clock.error_s() == math.inf


def test_a_beat_in_the_turn_after_a_delay_does_not_hide_it() -> None:
    clock = ProbeClock()
    clock.beat()
    hold_up()
    clock.beat()
    assert clock.error_s() >= _HELD_UP_S
