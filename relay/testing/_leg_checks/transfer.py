"""Reading and writing: bytes in order, room, and what a buffer may be used for."""

from __future__ import annotations

from relay.legs import WOULD_BLOCK
from relay.testing._leg_checks.ends import MUCH, SOME, Check, Ends


async def bytes_arrive_in_order(ends: Ends) -> None:
    for leg, other in ((ends.leg, ends.peer), (ends.peer, ends.leg)):
        leg.write(b"first ")
        leg.write(memoryview(b"second"))
        got = b""
        while len(got) < 12:
            more = await ends.receive(other)
            assert isinstance(more, bytes)
            got += more
        assert got == b"first second"


async def a_read_that_finds_nothing_clears_readable_until_the_owner_is_called(ends: Ends) -> None:
    ends.peer.write(SOME)
    assert await ends.receive(ends.leg) == SOME
    assert ends.leg.receive_into(memoryview(bytearray(9))) == WOULD_BLOCK
    assert not ends.leg.readable
    calls = ends.owner.calls
    ends.peer.write(SOME)
    await ends.until(lambda: ends.owner.calls > calls, "the owner is called")
    assert await ends.receive(ends.leg) == SOME


async def a_short_read_leaves_the_rest(ends: Ends) -> None:
    ends.peer.write(b"0123456789")
    await ends.until(lambda: ends.leg.unread_bytes() == 10, "unread_bytes counts what has arrived")
    assert await ends.receive(ends.leg, 4) == b"0123"
    assert ends.leg.unread_bytes() == 6
    assert await ends.receive(ends.leg) == b"456789"


async def what_was_written_may_be_changed_at_once(ends: Ends) -> None:
    memory = bytearray(MUCH)
    ends.leg.write(memory)
    memory[:] = bytes(len(memory))
    ends.leg.finish()
    assert await ends.receive_all(ends.peer) == (MUCH, 0)


async def without_room_everything_is_taken_and_none_is_lost(ends: Ends) -> None:
    assert ends.leg.has_room
    ends.leg.write(MUCH)
    assert not ends.leg.has_room
    assert ends.leg.unacked_bytes() >= ends.leg.waiting_bytes() > 0
    calls = ends.owner.calls
    got = bytearray()
    while len(got) < len(MUCH):
        more = await ends.receive(ends.peer)
        assert isinstance(more, bytes)
        got += more
    assert got == MUCH
    await ends.until(lambda: ends.leg.has_room, "there is room again")
    await ends.acknowledged(ends.leg)
    assert ends.leg.waiting_bytes() == 0
    assert ends.owner.calls > calls, "the owner is called when there is room again"


TRANSFER_CHECKS: tuple[Check, ...] = (
    bytes_arrive_in_order,
    a_read_that_finds_nothing_clears_readable_until_the_owner_is_called,
    a_short_read_leaves_the_rest,
    what_was_written_may_be_changed_at_once,
    without_room_everything_is_taken_and_none_is_lost,
)
