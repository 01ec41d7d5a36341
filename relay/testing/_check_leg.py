"""The guarantees of `relay.legs.Leg` as checks that any implementation can be put to.

    @asynccontextmanager
    async def open_pair():
        loop = MemoryLoop()
        peer, leg = memory_pair(loop)
        async def wait(seconds):
            loop.advance(seconds)
        yield LegPair(peer, leg, wait)

    await check_leg(open_pair)

Each check has a connection of its own. It holds the leg's guarantees against what the other end, a leg as well, sees.
"""

from __future__ import annotations

import errno
from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from typing import Any, TypeAlias

import anyio

from relay.abilities import KINDS
from relay.events import Event
from relay.legs import BROKEN, WOULD_BLOCK, Leg

_DEADLINE_S = 10.0
_STEP_S = 0.002
_MUCH = bytes(range(256)) * 40_000  # 10 MB: more than any window
_SOME = b"some bytes"


@dataclass
class LegPair:
    """The two ends of one connection: `leg` is the one that is checked."""

    peer: Leg
    leg: Leg
    wait: Callable[[float], Awaitable[None]] = anyio.sleep
    """Lets so many seconds pass on the legs' own clock."""


@dataclass
class _Owner:
    """Counts how often it is called, and sees when that happens inside a call of its own."""

    calls: int = 0
    inside: bool = False
    called_inside: bool = field(default=False, init=False)
    seen: list[Event] = field(default_factory=list, init=False)

    def on_leg_ready(self, leg: Any) -> None:
        self.calls += 1
        self.called_inside |= self.inside

    def on_leg_saw(self, event: Event, withheld: bool) -> None:
        self.seen.append(event)


class _Ends:
    """A pair with owners, and what checks do with it."""

    def __init__(self, pair: LegPair) -> None:
        self.peer, self.leg, self.wait = pair.peer, pair.leg, pair.wait
        self.owner = _Owner()
        self.peer.owner, self.leg.owner = _Owner(), self.owner
        self._buffer = memoryview(bytearray(1 << 16))

    async def until(self, condition: Callable[[], object], what: str) -> None:
        """Wait for something to come about.

        Raises:
            AssertionError: it did not, within ten seconds.
        """
        for _ in range(round(_DEADLINE_S / _STEP_S)):
            if condition():
                return
            await self.wait(_STEP_S)
        raise AssertionError(f"not within {_DEADLINE_S:g} s: {what}")

    async def receive(self, leg: Leg, limit: int = 1 << 16) -> bytes | int:
        """What one read gives, once it gives anything: bytes, 0 or BROKEN."""
        found: list[int] = []

        def read() -> bool:
            if leg.readable and (count := leg.receive_into(self._buffer[:limit])) != WOULD_BLOCK:
                found.append(count)
            return bool(found)

        await self.until(read, "a read gives something")
        return bytes(self._buffer[: found[0]]) if found[0] > 0 else found[0]

    async def receive_all(self, leg: Leg) -> tuple[bytes, int]:
        """Everything up to the end, and which end it was: 0 or BROKEN."""
        data = bytearray()
        while isinstance(got := await self.receive(leg), bytes):
            data += got
        return bytes(data), got

    async def acknowledged(self, leg: Leg) -> None:
        """Wait until the other end has all that was written to this one."""
        await self.until(lambda: leg.unacked_bytes() == 0, "everything is acknowledged")


async def _bytes_arrive_in_order(ends: _Ends) -> None:
    for leg, other in ((ends.leg, ends.peer), (ends.peer, ends.leg)):
        leg.write(b"first ")
        leg.write(memoryview(b"second"))
        got = b""
        while len(got) < 12:
            more = await ends.receive(other)
            assert isinstance(more, bytes)
            got += more
        assert got == b"first second"


async def _a_read_that_finds_nothing_clears_readable_until_the_owner_is_called(ends: _Ends) -> None:
    ends.peer.write(_SOME)
    assert await ends.receive(ends.leg) == _SOME
    assert ends.leg.receive_into(memoryview(bytearray(9))) == WOULD_BLOCK
    assert not ends.leg.readable
    calls = ends.owner.calls
    ends.peer.write(_SOME)
    await ends.until(lambda: ends.owner.calls > calls, "the owner is called")
    assert await ends.receive(ends.leg) == _SOME


async def _a_short_read_leaves_the_rest(ends: _Ends) -> None:
    ends.peer.write(b"0123456789")
    await ends.until(lambda: ends.leg.unread_bytes() == 10, "unread_bytes counts what has arrived")
    assert await ends.receive(ends.leg, 4) == b"0123"
    assert ends.leg.unread_bytes() == 6
    assert await ends.receive(ends.leg) == b"456789"


async def _what_was_written_may_be_changed_at_once(ends: _Ends) -> None:
    memory = bytearray(_MUCH)
    ends.leg.write(memory)
    memory[:] = bytes(len(memory))
    ends.leg.finish()
    assert await ends.receive_all(ends.peer) == (_MUCH, 0)


async def _a_fin_is_found_after_the_bytes_and_writing_goes_on(ends: _Ends) -> None:
    ends.peer.write(_SOME)
    ends.peer.finish()
    assert await ends.receive_all(ends.leg) == (_SOME, 0)
    assert not ends.leg.closed
    ends.leg.write(b"answer")
    assert await ends.receive(ends.peer) == b"answer"


async def _a_fin_is_sent_behind_what_was_written_and_reading_goes_on(ends: _Ends) -> None:
    ends.leg.write(_MUCH)
    ends.leg.finish()
    ends.leg.finish()
    assert await ends.receive_all(ends.peer) == (_MUCH, 0)
    ends.peer.write(_SOME)
    assert await ends.receive(ends.leg) == _SOME
    assert not ends.leg.closed


async def _to_finish_after_the_peers_fin_is_the_end_of_the_leg(ends: _Ends) -> None:
    ends.peer.finish()
    assert await ends.receive(ends.leg) == 0
    ends.leg.write(_SOME)
    ends.leg.finish()
    assert await ends.receive_all(ends.peer) == (_SOME, 0)
    await ends.until(lambda: ends.leg.closed, "the leg is closed")


async def _a_rst_is_found_after_the_bytes(ends: _Ends) -> None:
    ends.peer.write(_SOME)
    await ends.acknowledged(ends.peer)
    ends.peer.reset()
    assert ends.peer.closed
    assert await ends.receive_all(ends.leg) == (_SOME, BROKEN)
    assert ends.leg.broken == errno.ECONNRESET
    assert not ends.leg.timed_out


async def _a_write_that_meets_a_rst_leaves_the_bytes_before_it_to_be_read(ends: _Ends) -> None:
    ends.peer.write(_SOME)
    await ends.acknowledged(ends.peer)
    ends.peer.reset()

    def write_into_the_void() -> bool:
        ends.leg.write(b"lost")
        return bool(ends.leg.broken)

    await ends.until(write_into_the_void, "a write meets the RST")
    lost = ends.leg.unacked_bytes()
    ends.leg.write(b"12345")
    assert ends.leg.unacked_bytes() == lost + 5, "what is written to a broken leg was acknowledged by no end"
    assert await ends.receive_all(ends.leg) == (_SOME, BROKEN)


async def _a_rst_behind_a_fin_is_found_by_asking(ends: _Ends) -> None:
    ends.peer.finish()
    assert await ends.receive(ends.leg) == 0
    assert not ends.leg.find_broken()
    ends.peer.reset()
    await ends.until(ends.leg.find_broken, "find_broken finds the RST")


async def _without_room_everything_is_taken_and_none_is_lost(ends: _Ends) -> None:
    assert ends.leg.has_room
    ends.leg.write(_MUCH)
    assert not ends.leg.has_room
    assert ends.leg.unacked_bytes() > 0
    calls = ends.owner.calls
    got = bytearray()
    while len(got) < len(_MUCH):
        more = await ends.receive(ends.peer)
        assert isinstance(more, bytes)
        got += more
    assert got == _MUCH
    await ends.until(lambda: ends.leg.has_room, "there is room again")
    await ends.acknowledged(ends.leg)
    assert ends.owner.calls > calls, "the owner is called when there is room again"


async def _a_reset_is_a_rst_that_overtakes_what_waits(ends: _Ends) -> None:
    ends.leg.write(_MUCH)
    ends.leg.reset()
    assert ends.leg.closed
    data, end = await ends.receive_all(ends.peer)
    assert end == BROKEN
    assert len(data) < len(_MUCH)
    assert ends.peer.broken == errno.ECONNRESET


async def _to_close_with_bytes_unread_resets_the_peer(ends: _Ends) -> None:
    ends.peer.write(_SOME)
    await ends.until(lambda: ends.leg.unread_bytes() == len(_SOME), "the bytes have arrived")
    ends.leg.close()
    assert await ends.receive_all(ends.peer) == (b"", BROKEN)


async def _to_close_with_nothing_unread_is_a_fin(ends: _Ends) -> None:
    ends.leg.write(_SOME)
    ends.leg.close()
    assert await ends.receive_all(ends.peer) == (_SOME, 0)


async def _each_end_knows_both_addresses(ends: _Ends) -> None:
    assert ends.leg.local is not None
    assert ends.leg.peer is not None
    assert (ends.leg.local, ends.leg.peer) == (ends.peer.peer, ends.peer.local)


async def _a_leg_that_sees_what_is_not_there_says_nothing(ends: _Ends) -> None:
    for wants in (KINDS, (), KINDS):
        ends.leg.watch(wants, ends.owner)
    ends.peer.write(_SOME)
    assert await ends.receive(ends.leg) == _SOME
    ends.leg.unwatch()
    ends.leg.unwatch()
    assert not ends.owner.seen


async def _a_closed_leg_calls_nothing_and_bears_what_is_legal(ends: _Ends) -> None:
    ends.leg.close()
    calls = ends.owner.calls
    ends.peer.write(_SOME)
    for _ in range(3):
        await ends.wait(_STEP_S)
    ends.leg.close()
    ends.leg.reset()
    ends.leg.finish()
    ends.leg.freeze()
    ends.leg.thaw()
    ends.leg.unwatch()
    assert ends.leg.unread_bytes() == 0
    assert ends.leg.unacked_bytes() >= 0
    assert ends.leg.closed
    assert not ends.leg.readable
    assert ends.owner.calls == calls


async def _a_frozen_leg_neither_writes_nor_loses_what_arrives(ends: _Ends) -> None:
    ends.leg.freeze()
    ends.leg.write(_SOME)
    ends.leg.finish()
    ends.peer.write(b"meanwhile")
    for _ in range(20):
        await ends.wait(_STEP_S)
    assert ends.peer.unread_bytes() == 0
    assert not ends.leg.has_room
    calls = ends.owner.calls
    ends.leg.thaw()
    assert ends.owner.calls > calls, "thaw calls the owner"
    assert await ends.receive_all(ends.peer) == (_SOME, 0)
    assert await ends.receive(ends.leg) == b"meanwhile"


async def _a_new_owner_has_the_next_call(ends: _Ends) -> None:
    heir = _Owner()
    ends.leg.owner = heir
    calls = ends.owner.calls
    ends.peer.write(_SOME)
    await ends.until(lambda: heir.calls, "the new owner is called")
    assert ends.owner.calls == calls


async def _no_call_of_the_owners_calls_it_back(ends: _Ends) -> None:
    ends.peer.write(_SOME)
    await ends.until(lambda: ends.leg.unread_bytes() == len(_SOME), "the bytes have arrived")
    ends.owner.inside = True
    ends.leg.write(_MUCH)
    ends.leg.flush()
    ends.leg.receive_into(memoryview(bytearray(4)))
    ends.leg.freeze()
    ends.leg.finish()
    ends.leg.reset()
    assert not ends.owner.called_inside


async def _a_blackholed_peer_is_not_heard_until_it_is_heard_again(ends: _Ends) -> None:
    if not ends.leg.blackhole(True):
        return  # this host cannot, and the leg says so
    ends.peer.write(_SOME)
    ends.peer.finish()
    for _ in range(20):
        await ends.wait(_STEP_S)
    assert ends.leg.unread_bytes() == 0
    assert ends.peer.unacked_bytes() == len(_SOME)
    assert ends.leg.blackhole(False)
    assert await ends.receive_all(ends.leg) == (_SOME, 0)


async def _a_limited_window_acknowledges_about_as_much(ends: _Ends) -> None:
    ends.leg.limit_window(20_000)
    ends.peer.write(_MUCH)
    await ends.until(lambda: ends.leg.unread_bytes() > 5_000, "the peer's bytes arrive")
    for _ in range(20):
        await ends.wait(_STEP_S)
    assert ends.leg.unread_bytes() < 200_000, "kernels round up, but not by that much"
    assert ends.peer.unacked_bytes() > 0


async def _keepalive_finds_a_silent_peer_dead_and_leaves_a_living_one(ends: _Ends) -> None:
    ends.leg.set_keepalive(1, 1, 2)
    await ends.wait(3.5)
    assert not ends.leg.find_broken(), "a peer that answers its probes is alive"
    if ends.peer.blackhole(True):
        await ends.until(ends.leg.find_broken, "the leg has timed out")
        assert ends.leg.timed_out


_Check: TypeAlias = Callable[[_Ends], Awaitable[None]]

CHECKS: tuple[_Check, ...] = (
    _bytes_arrive_in_order,
    _a_read_that_finds_nothing_clears_readable_until_the_owner_is_called,
    _a_short_read_leaves_the_rest,
    _what_was_written_may_be_changed_at_once,
    _a_fin_is_found_after_the_bytes_and_writing_goes_on,
    _a_fin_is_sent_behind_what_was_written_and_reading_goes_on,
    _to_finish_after_the_peers_fin_is_the_end_of_the_leg,
    _a_rst_is_found_after_the_bytes,
    _a_write_that_meets_a_rst_leaves_the_bytes_before_it_to_be_read,
    _a_rst_behind_a_fin_is_found_by_asking,
    _without_room_everything_is_taken_and_none_is_lost,
    _a_reset_is_a_rst_that_overtakes_what_waits,
    _to_close_with_bytes_unread_resets_the_peer,
    _to_close_with_nothing_unread_is_a_fin,
    _each_end_knows_both_addresses,
    _a_leg_that_sees_what_is_not_there_says_nothing,
    _a_closed_leg_calls_nothing_and_bears_what_is_legal,
    _a_frozen_leg_neither_writes_nor_loses_what_arrives,
    _a_new_owner_has_the_next_call,
    _no_call_of_the_owners_calls_it_back,
    _a_blackholed_peer_is_not_heard_until_it_is_heard_again,
    _a_limited_window_acknowledges_about_as_much,
    _keepalive_finds_a_silent_peer_dead_and_leaves_a_living_one,
)
"""Every check, in the order of `relay.legs.Leg`'s own page."""


async def check_leg(open_pair: Callable[[], AbstractAsyncContextManager[LegPair]]) -> None:
    """Put an implementation of `relay.legs.Leg` to every one of its guarantees, all at the same time.

    Args:
        open_pair: makes a fresh connection for each check, and ends it when the block is left.

    Raises:
        AssertionError: guarantees do not hold; the message names each.
    """
    failures: list[str] = []

    async def run(check: _Check) -> None:
        async with open_pair() as pair:
            try:
                await check(_Ends(pair))
            except AssertionError as failed:
                failures.append(f"{check.__name__.strip('_').replace('_', ' ')}: {failed}")

    async with anyio.create_task_group() as tasks:
        for check in CHECKS:
            tasks.start_soon(run, check)
    assert not failures, "; ".join(failures)
