"""What an outbox holds, has lost, and lets its flow read meanwhile."""

from __future__ import annotations

from relay.legs.outbox import Outbox
from relay.legs.unowned import NO_OWNER
from relay.shape import Shape
from relay.testing import MemoryLeg, MemoryLoop, memory_pair


def outbox(shape: Shape) -> tuple[MemoryLoop, MemoryLeg, Outbox]:
    """A loop, the peer that receives, and the outbox; the peer is not read."""
    loop = MemoryLoop()
    peer, behind = memory_pair(loop)
    behind.owner = NO_OWNER
    made = Outbox(behind, loop, lambda: 0.5, lambda limit_bytes: None)
    made.set_shape(shape)
    loop.settle()
    return loop, peer, made


def test_all_that_passes_counts_also_where_nothing_holds_it() -> None:
    _, _, out = outbox(Shape())
    out.write(b"1234")
    assert (out.passed_bytes, out.withheld_bytes) == (4, 0)
    out.set_shape(Shape(limit_bytes=6))
    out.write(b"5678")
    assert (out.passed_bytes, out.withheld_bytes, out.stranded_bytes) == (6, 2, 2)


def test_what_a_peer_has_no_room_for_is_withheld_and_goes_once_it_is_flushed() -> None:
    loop, peer, out = outbox(Shape(slice_bytes=100))
    peer.limit_window(0)
    out.write(b"1234")
    assert (out.withheld_bytes, out.behind.unacked_bytes()) == (4, 0)
    peer.limit_window(100)
    out.flush()
    assert (out.withheld_bytes, out.passed_bytes, peer.unread_bytes()) == (0, 4, 4)
    loop.settle()


def test_once_it_is_to_be_reset_it_is_not_read_again() -> None:
    loop, peer, out = outbox(Shape(delay_s=1.0))
    peer.write(b"to be read")
    loop.settle()
    assert out.readable
    out.write(b"1234")
    out.reset()
    assert (out.readable, out.closed, out.behind.closed) == (False, True, False)
    loop.advance(2.0)
    assert out.behind.closed


def test_what_is_closed_with_it_is_lost_and_no_more_is_taken() -> None:
    _, peer, out = outbox(Shape(delay_s=1.0))
    out.write(b"1234")
    assert (out.has_unsent, out.unacked_bytes()) == (True, 4)
    out.close()
    out.write(b"5678")
    assert (out.has_unsent, out.withheld_bytes, out.unacked_bytes(), peer.unread_bytes()) == (False, 4, 4, 0)
