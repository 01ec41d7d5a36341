"""How far a pump goes in one turn, on legs in memory: what it stops at, and what it counts."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast

import pytest

from relay.events import Side
from relay.legs.outbox import Outbox
from relay.net.pump import (
    BUDGET_BYTES,
    BULK_BYTES,
    KEPT_BUDGET_BYTES,
    TRANSLATED_BYTES,
    TURN_S,
    Outcome,
    Pump,
    TranslatingPump,
)
from relay.testing import MemoryLeg, MemoryLoop, memory_pair
from support.bench import open_bench
from support.origins import read_exactly


class Pair:
    """Two legs of a flow in memory, and the ends of their peers."""

    def __init__(self) -> None:
        self.loop = MemoryLoop()
        self.app, self.near = memory_pair(self.loop, Side.INTERNAL)
        self.server, self.far = memory_pair(self.loop, Side.EXTERNAL)

    def heard(self) -> bytes:
        """What has reached the server."""
        self.loop.settle()
        heard = b""
        while (count := self.server.receive_into(self.loop.buffer)) > 0:
            heard += bytes(self.loop.buffer[:count])
        return heard


class Endless:
    """A leg that always has more to read; `count` tells how many bytes each time."""

    def __init__(self, leg: MemoryLeg, count: int) -> None:
        self._leg, self.count = leg, count
        self.reads: list[int] = []

    readable = True
    frozen = False

    def __getattr__(self, name: str) -> Any:
        return getattr(self._leg, name)

    def receive_into(self, buffer: memoryview) -> int:
        self.reads.append(len(buffer))
        return min(self.count, len(buffer))


class Taking:
    """A leg that takes everything, and keeps nothing."""

    has_room, broken, frozen = True, 0, False

    def __init__(self) -> None:
        self.taken = 0

    def write(self, data: bytes | memoryview) -> None:
        self.taken += len(data)


def translating(pair: Pair, sink: Any, translate: Callable[[bytes], bytes] = bytes) -> TranslatingPump:
    return TranslatingPump(pair.near, sink, translate, lambda: False)


@pytest.mark.parametrize("moved_bytes", [0, BULK_BYTES])
def test_a_turn_ends_with_the_read_that_uses_up_its_budget(moved_bytes: int) -> None:
    pair = Pair()
    source, sink = Endless(pair.near, 64 * 1024), Taking()
    pump = Pump(cast("Any", source), cast("Any", sink))
    pump.moved_bytes = moved_bytes
    assert pump.run() is Outcome.SPENT
    assert sink.taken == BUDGET_BYTES == 2 << 20
    assert pump.moved_bytes == moved_bytes + BUDGET_BYTES


class Keeping(Outbox):
    """An outbox that has room for everything."""

    has_room = True


@pytest.mark.anyio
async def test_only_bytes_from_socket_to_socket_are_spliced() -> None:
    pair = Pair()
    async with open_bench() as bench:
        out, back = Pump(pair.near, bench.leg), Pump(bench.leg, pair.far)
        out.moved_bytes = back.moved_bytes = BULK_BYTES
        pair.app.write(b"out")
        pair.loop.settle()
        assert out.run() is Outcome.WAITING
        assert read_exactly(bench.peer, 3) == b"out"
        bench.peer.sendall(b"back")
        await bench.until(lambda: bench.leg.readable)
        assert back.run() is Outcome.WAITING
        assert pair.heard() == b"back"


def test_a_turn_is_shorter_where_bytes_are_kept() -> None:
    pair = Pair()
    source = Endless(pair.near, 64 * 1024)
    pump = Pump(cast("Any", source), Keeping(pair.far, pair.loop, lambda: 0.0, lambda _: None))
    assert pump.run() is Outcome.SPENT
    assert pump.moved_bytes == KEPT_BUDGET_BYTES == 256 << 10


def test_a_leg_without_anything_to_read_is_not_read_unless_it_is_run_dry() -> None:
    pair = Pair()
    source = Endless(pair.near, 0)
    source.readable = False
    for pump in (Pump(cast("Any", source), pair.far), translating(pair, pair.far)):
        pump.source = cast("Any", source)
        assert pump.run() is Outcome.WAITING
    assert source.reads == []
    pump.run_dry()
    assert (len(source.reads), source.readable) == (1, True)


@pytest.mark.parametrize("is_translated", [False, True])
def test_a_frozen_source_is_not_read_and_a_sink_without_room_gets_nothing(is_translated: bool) -> None:
    pair = Pair()
    pump = translating(pair, pair.far) if is_translated else Pump(pair.near, pair.far)
    pair.app.write(b"1")
    pair.loop.settle()
    pair.near.freeze()
    assert pump.run() is Outcome.WAITING
    pair.near.thaw()
    pair.far.freeze()
    assert pump.run() is Outcome.WAITING
    assert pair.near.unread_bytes() == 1
    pair.far.thaw()
    assert pump.run() is Outcome.WAITING
    assert pair.heard() == b"1"


@pytest.mark.parametrize("is_translated", [False, True])
def test_for_a_sink_that_has_broken_or_is_gone_bytes_are_read_and_dropped(is_translated: bool) -> None:
    for gone in (False, True):
        pair = Pair()
        pump = translating(pair, pair.far) if is_translated else Pump(pair.near, pair.far)
        pair.server.reset()
        pair.loop.settle()
        pair.far.receive_into(pair.loop.buffer)
        assert pair.far.broken
        assert not pair.far.closed
        if gone:
            pump.sink = None
        pair.app.write(b"lost")
        pair.app.finish()
        pair.loop.settle()
        assert pump.run() is Outcome.FINISHED
        assert pump.moved_bytes == 4


@pytest.mark.parametrize("is_translated", [False, True])
@pytest.mark.parametrize(("ends", "outcome"), [("finish", Outcome.FINISHED), ("reset", Outcome.BROKEN)])
def test_the_sources_end_is_reported_behind_its_bytes(is_translated: bool, ends: str, outcome: Outcome) -> None:
    pair = Pair()
    pump = translating(pair, pair.far) if is_translated else Pump(pair.near, pair.far)
    pair.app.write(b"last words")
    pair.loop.settle()
    getattr(pair.app, ends)()
    pair.loop.settle()
    assert pump.run() is outcome
    assert pair.heard() == b"last words"
    assert pump.moved_bytes == 10


def test_translating_reads_in_steps_and_counts_both_what_it_reads_and_what_it_writes() -> None:
    pair = Pair()
    source, sink = Endless(pair.near, 1 << 20), Taking()
    pump = TranslatingPump(cast("Any", source), cast("Any", sink), lambda data: data[:10], lambda: False)
    clock = iter([0.0, TURN_S / 2, TURN_S])
    pair.loop.now_s = lambda: next(clock)  # type: ignore[method-assign]
    assert pump.run() is Outcome.SPENT
    assert source.reads == [TRANSLATED_BYTES] * 2 == [65_536] * 2
    assert (pump.moved_bytes, pump.written_bytes, sink.taken) == (2 * TRANSLATED_BYTES, 20, 20)


def test_what_translates_to_nothing_is_not_written() -> None:
    pair = Pair()
    pump = translating(pair, pair.far, lambda data: b"")
    pump.hand_on(b"a header")
    pump.put(b"x")
    pump.sink = None
    pump.put(b"y")
    pump.hand_on(b"z")
    assert (pump.moved_bytes, pump.written_bytes) == (9, 1)
    assert pair.heard() == b"x"


def test_what_is_behind_is_passed_on_without_a_read_where_nothing_was_announced() -> None:
    pair, left = Pair(), [b"left"]
    source = Endless(pair.near, 5)
    source.readable = False
    pump = TranslatingPump(cast("Any", source), pair.far, lambda data: left.pop(), lambda: bool(left))
    assert pump.can_go_on()
    assert pump.run() is Outcome.WAITING
    assert (pair.heard(), source.reads, pump.can_go_on()) == (b"left", [], False)


def test_run_dry_ends_where_what_is_behind_goes_nowhere() -> None:
    asked = iter([True] * 9)
    pump = TranslatingPump(Pair().near, None, bytes, lambda: next(asked))
    pump.run_dry()
    assert pump.run() is Outcome.WAITING
    assert not pump.can_go_on()


def test_run_dry_reads_though_nothing_was_announced_and_passes_on_what_was_left() -> None:
    pair, left = Pair(), [b"two", b"three"]
    pump = TranslatingPump(pair.near, pair.far, lambda data: bytes(data) or left.pop(0), lambda: bool(left))
    pair.app.write(b"one")
    pair.near.readable = False
    pump.run_dry()
    assert pair.heard() == b"onetwothree"
