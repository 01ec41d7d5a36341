"""Connections that are forgotten on a host that cannot drop one silently."""

from __future__ import annotations

import pytest

from relay.legs.forgotten import is_forgotten, reset_on_next
from relay.testing import MemoryLeg, MemoryLoop, memory_pair


@pytest.fixture
def pair(monkeypatch: pytest.MonkeyPatch) -> tuple[MemoryLoop, MemoryLeg, MemoryLeg]:
    monkeypatch.setattr(MemoryLeg, "forget", lambda leg: False)
    loop = MemoryLoop()
    return loop, *memory_pair(loop)


def test_what_came_before_does_not_count_and_the_next_byte_does(pair: tuple[MemoryLoop, MemoryLeg, MemoryLeg]) -> None:
    loop, peer, leg = pair
    peer.write(bytes(100_000))
    loop.settle()
    reset_on_next(leg)
    assert is_forgotten(leg)
    assert not leg.closed
    assert leg.unread_bytes() == 0
    leg.owner.on_leg_ready(leg)
    assert not leg.closed, "nothing has come"
    peer.write(b"x")
    loop.settle()
    assert leg.closed


@pytest.mark.parametrize("end", [MemoryLeg.finish, MemoryLeg.reset])
def test_an_end_that_came_before_is_answered_at_once(
    end: object, pair: tuple[MemoryLoop, MemoryLeg, MemoryLeg]
) -> None:
    loop, peer, leg = pair
    peer.write(b"x")
    end(peer)  # type: ignore[operator]
    loop.settle()
    reset_on_next(leg)
    assert leg.closed
