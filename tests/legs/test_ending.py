"""The endings that take their time: when each is over, and how."""

from __future__ import annotations

import errno

from relay.abilities import Ability, Want
from relay.events import Event
from relay.legs.ending import WIND_DOWN_S, reset_after_data, wind_down
from relay.testing import MemoryLeg, MemoryLoop, memory_pair


def pair() -> tuple[MemoryLoop, MemoryLeg, MemoryLeg]:
    loop = MemoryLoop()
    return loop, *memory_pair(loop)


def test_a_leg_is_closed_as_soon_as_its_peer_sends_its_own_fin() -> None:
    loop, peer, leg = pair()
    wind_down(leg)
    loop.settle()
    assert not leg.closed
    peer.finish()
    loop.settle()
    assert leg.closed
    assert loop.next_due_s is None, "its timer is cancelled"


def test_a_peer_without_a_fin_has_five_seconds() -> None:
    loop, _, leg = pair()
    wind_down(leg)
    loop.advance(WIND_DOWN_S - 0.01)
    assert not leg.closed
    loop.advance(0.02)
    assert leg.closed


class Witnessing:
    """Takes note of what a leg sees."""

    def __init__(self) -> None:
        self.seen: list[Event] = []

    def on_leg_saw(self, event: Event, withheld: bool) -> None:
        self.seen.append(event)


def test_what_is_ended_in_order_is_watched_no_more_and_has_one_timer() -> None:
    loop, peer, leg = pair()
    witness = Witnessing()
    leg.watch([Want(Ability.TOS, mask=0xE0)], witness)
    peer.write(b"x")
    wind_down(leg)
    peer.tos = 0x48
    for _ in range(3):
        peer.write(b"x")
        loop.settle()
        leg.owner.on_leg_ready(leg)
    assert witness.seen == []
    assert sum(timer.callback is not None for *_, timer in loop._timers) == 1


def test_a_second_call_changes_nothing() -> None:
    loop, peer, leg = pair()
    wind_down(leg)
    owner = leg.owner
    wind_down(leg)
    assert leg.owner is owner
    peer.finish()
    loop.settle()
    wind_down(leg)
    assert leg.closed


def test_a_frozen_leg_is_not_ended_before_it_is_thawed() -> None:
    loop, peer, leg = pair()
    wind_down(leg)
    leg.freeze()
    peer.finish()
    loop.advance(2 * WIND_DOWN_S)
    assert not leg.closed
    leg.thaw()
    loop.settle()
    assert leg.closed


def test_a_broken_leg_is_closed_at_once() -> None:
    loop, peer, leg = pair()
    wind_down(leg)
    peer.reset()
    loop.settle()
    assert leg.closed
    assert leg.broken == errno.ECONNRESET


def test_what_the_peer_sends_is_dropped_until_it_has_all_and_is_reset() -> None:
    loop, peer, leg = pair()
    buffer = memoryview(bytearray(100))
    peer.freeze()
    leg.write(b"the last words")
    reset_after_data(leg)
    peer.write(b"unread")
    loop.advance(1.0)
    assert leg.unread_bytes() == 0
    peer.thaw()
    assert peer.receive_into(buffer) == len(b"the last words")
    loop.advance(1.0)
    assert leg.closed
    reset_after_data(leg)
    loop.advance(1.0)
    assert loop.next_due_s is None


def test_a_peer_that_takes_some_now_and_then_has_it_all_and_one_that_stops_five_seconds() -> None:
    loop, peer, leg = pair()
    buffer = memoryview(bytearray(10))
    peer.limit_window(10)
    leg.write(bytes(50))
    reset_after_data(leg)
    for _ in range(3):
        loop.advance(4.0)
        assert peer.receive_into(buffer) == 10
    loop.advance(4.9)
    assert not leg.closed
    loop.advance(0.3)
    assert leg.closed
