"""What an outbox sends when: in virtual time, each byte and each end at its own moment."""

from __future__ import annotations

import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from relay.events import Side
from relay.legs import BROKEN, WOULD_BLOCK, Leg
from relay.legs.line import HELD_BYTES
from relay.legs.outbox import Clock, Outbox
from relay.net.kernel_leg import KernelLeg
from relay.shape import Shape
from relay.testing import LegPair, MemoryLoop, check_leg, memory_pair
from support.bench import Owner, open_engine, socket_pair


class Peer:
    """The end that receives, and when each piece came."""

    def __init__(self, shape: Shape, *, draws: tuple[float, ...] = ()) -> None:
        self.loop = MemoryLoop()
        self.leg, behind = memory_pair(self.loop)
        self.leg.owner = self
        self.got: list[tuple[float, bytes | str]] = []
        self.limits: list[int] = []
        draw = iter(draws)
        behind.owner = Owner()
        self.outbox = Outbox(behind, self.loop, lambda: next(draw), self.limits.append)
        self.outbox.set_shape(shape)

    def on_leg_ready(self, leg: object) -> None:
        buffer = memoryview(bytearray(1 << 20))
        while self.leg.readable:
            count = self.leg.receive_into(buffer)
            if count == WOULD_BLOCK:
                return
            self.got.append((round(self.loop.now_s(), 6), {0: "FIN", BROKEN: "RST"}.get(count, bytes(buffer[:count]))))
            if count <= 0:
                return

    def pass_time(self, seconds: float) -> list[tuple[float, bytes | str]]:
        """What came within so many seconds."""
        self.loop.advance(seconds)
        got, self.got = self.got, []
        return got


def plain(behind: Leg, clock: Clock) -> Outbox:
    return Outbox(behind, clock, lambda: 0.5, lambda side: None)


@asynccontextmanager
async def in_memory() -> AsyncIterator[LegPair]:
    loop = MemoryLoop()
    peer, behind = memory_pair(loop)

    async def wait(seconds: float) -> None:
        loop.advance(seconds)

    yield LegPair(peer, plain(behind, loop), wait)


@asynccontextmanager
async def on_kernel_sockets() -> AsyncIterator[LegPair]:
    async with open_engine() as (engine, faults):
        near, far = socket_pair()
        far.setblocking(False)
        legs = [KernelLeg(engine, sock, Side.INTERNAL, Owner()) for sock in (near, far)]
        yield LegPair(legs[1], plain(legs[0], engine.nat))
        for leg in legs:
            leg.close()
        assert not faults


@pytest.mark.anyio
async def test_without_a_shape_it_keeps_every_guarantee_of_a_leg() -> None:
    await check_leg(in_memory)


@pytest.mark.anyio
@pytest.mark.system
async def test_on_a_kernels_socket_too() -> None:
    await check_leg(on_kernel_sockets)


def test_each_piece_is_late_by_the_delay_and_the_fin_behind_it() -> None:
    peer = Peer(Shape(delay_s=0.1))
    peer.outbox.write(b"one")
    assert peer.pass_time(0.03) == []
    peer.outbox.write(b"two")
    peer.outbox.finish()
    assert peer.pass_time(1) == [(0.1, b"one"), (0.13, b"two"), (0.13, "FIN")]


def test_a_reset_comes_behind_the_bytes_before_it() -> None:
    peer = Peer(Shape(delay_s=0.1))
    peer.outbox.write(b"one")
    peer.outbox.reset()
    assert (peer.outbox.closed, peer.outbox.behind.closed) == (True, False)
    assert peer.pass_time(1) == [(0.1, b"one"), (0.1, "RST")]
    assert peer.outbox.behind.closed


def test_a_reset_behind_a_fin_comes_after_it() -> None:
    peer = Peer(Shape(delay_s=0.1))
    peer.outbox.write(b"one")
    peer.outbox.finish()
    peer.pass_time(0.05)
    peer.outbox.reset()
    assert peer.pass_time(1) == [(0.1, b"one"), (0.1, "FIN"), (0.15, "RST")]


def test_a_reset_that_is_repeated_is_one_and_a_close_does_not_overtake_it() -> None:
    peer = Peer(Shape(delay_s=0.1))
    peer.outbox.write(b"one")
    peer.outbox.reset()
    peer.pass_time(0.05)
    peer.outbox.reset()
    peer.outbox.reset_after_data()
    peer.outbox.close()
    assert peer.pass_time(1) == [(0.1, b"one"), (0.1, "RST")]


def test_a_reset_does_not_wait_for_a_peer_that_is_gone() -> None:
    for finds_first in (True, False):
        peer = Peer(Shape(delay_s=10))
        peer.outbox.write(b"one")
        peer.leg.reset()
        if finds_first:
            assert peer.outbox.find_broken()
            peer.outbox.reset()
        else:
            peer.outbox.reset()
            assert peer.outbox.find_broken()
        peer.pass_time(0)
        assert peer.outbox.behind.closed
        assert peer.loop.next_due_s is None


def test_what_waits_is_forgotten_with_the_leg_but_not_a_reset() -> None:
    forgotten, over = Peer(Shape(delay_s=1)), Peer(Shape(delay_s=1))
    for peer in (forgotten, over):
        peer.outbox.write(b"one")
    over.outbox.reset()
    assert over.outbox.forget()
    assert over.pass_time(2) == [(1, b"one"), (1, "RST")]
    assert forgotten.outbox.forget()
    assert not forgotten.outbox.has_unsent
    assert forgotten.pass_time(2) == []


def test_a_rate_holds_over_many_writes() -> None:
    peer = Peer(Shape(rate_bytes_per_s=100_000))
    for _ in range(10):
        peer.outbox.write(bytes(5_000))
    got = peer.pass_time(10)
    assert sum(len(piece) for _, piece in got) == 50_000
    assert all(len(piece) == 512 for _, piece in got[:9])  # 5 ms of it at once, or the least piece
    assert got[-1][0] == pytest.approx(0.5, abs=0.006)


def test_an_idle_line_saves_nothing_up() -> None:
    peer = Peer(Shape(rate_bytes_per_s=1_000))
    peer.outbox.write(bytes(1_000))
    peer.pass_time(60)
    peer.outbox.write(bytes(2_000))
    assert peer.pass_time(1.0)[-1][0] < 61.0
    assert sum(len(piece) for _, piece in peer.pass_time(10)) >= 900


def test_a_line_that_was_held_up_makes_up_for_a_tenth_of_a_second() -> None:
    peer = Peer(Shape(rate_bytes_per_s=10_000))
    peer.outbox.write(bytes(50_000))
    peer.outbox.freeze()
    peer.pass_time(3)
    peer.outbox.thaw()
    assert sum(len(piece) for _, piece in peer.pass_time(1)) == pytest.approx(11_000, abs=512)


@pytest.mark.parametrize("size", [1, 7, 100])
def test_slices_are_as_asked(size: int) -> None:
    peer = Peer(Shape(slice_bytes=size, slice_delay_s=0.02))
    peer.outbox.write(bytes(300))
    got = peer.pass_time(60)
    assert [len(piece) for _, piece in got] == [size] * (300 // size) + ([300 % size] if 300 % size else [])
    assert [at_s for at_s, _ in got] == pytest.approx([n * 0.02 for n in range(len(got))])


def test_slices_vary_by_the_draws_and_have_a_byte_at_least() -> None:
    peer = Peer(Shape(slice_bytes=10, slice_delay_s=0.1, slice_variation_bytes=4), draws=(0.0, 0.999, 0.5, 0.2))
    peer.outbox.write(bytes(37))
    assert [len(piece) for _, piece in peer.pass_time(60)] == [6, 14, 10, 7]
    peer = Peer(Shape(slice_bytes=2, slice_delay_s=0.1, slice_variation_bytes=100), draws=(0.0, 0.0))
    peer.outbox.write(bytes(2))
    assert [len(piece) for _, piece in peer.pass_time(60)] == [1, 1]


def test_many_small_slices_leave_others_their_turn() -> None:
    peer = Peer(Shape(slice_bytes=1))
    peer.outbox.write(bytes(1_000))
    assert 744 <= peer.outbox.unacked_bytes() < 1_000
    assert sum(len(piece) for _, piece in peer.pass_time(0)) == 1_000
    assert not peer.outbox.has_unsent


def test_past_its_limit_nothing_goes_and_that_is_reported_once() -> None:
    peer = Peer(Shape(limit_bytes=5))
    peer.outbox.write(b"abc")
    peer.outbox.write(b"defg")
    peer.outbox.write(b"h")
    assert b"".join(piece for _, piece in peer.pass_time(60) if isinstance(piece, bytes)) == b"abcde"
    assert peer.limits == [5]
    peer.outbox.set_shape(Shape())
    assert [piece for _, piece in peer.pass_time(1)] == [b"fgh"]


def test_an_end_takes_the_place_of_what_is_past_the_limit() -> None:
    peer = Peer(Shape(limit_bytes=2))
    peer.outbox.write(b"abc")
    peer.outbox.write(b"d")
    peer.outbox.finish()
    assert [piece for _, piece in peer.pass_time(1)] == [b"ab", "FIN"]
    assert not peer.outbox.has_unsent


def test_a_stall_holds_everything_until_it_ends() -> None:
    peer = Peer(Shape(stall=True))
    peer.outbox.write(b"one")
    peer.outbox.finish()
    assert peer.pass_time(3600) == []
    peer.outbox.set_shape(Shape())
    assert [piece for _, piece in peer.pass_time(0)] == [b"one", "FIN"]


def test_what_an_end_drops_is_held_no_longer_and_was_acknowledged_by_no_peer() -> None:
    peer = Peer(Shape(delay_s=1))
    peer.outbox.write(b"one")
    assert (peer.outbox.withheld_bytes, peer.outbox.stranded_bytes) == (3, 0), "it will pass"
    peer.outbox.close()
    assert (peer.outbox.withheld_bytes, peer.outbox.stranded_bytes) == (3, 3)
    assert peer.outbox.unacked_bytes() == 3
    assert not peer.outbox.has_unsent
    assert peer.pass_time(5) == [(0, "FIN")]


def test_what_stands_behind_a_limit_or_a_stall_is_stranded() -> None:
    peer = Peer(Shape(limit_bytes=5))
    peer.outbox.write(b"abcdefgh")
    assert (peer.outbox.withheld_bytes, peer.outbox.stranded_bytes, peer.outbox.passed_bytes) == (3, 3, 5)
    peer.outbox.set_shape(Shape(delay_s=1, limit_bytes=6))
    assert (peer.outbox.withheld_bytes, peer.outbox.stranded_bytes) == (3, 2)
    peer.outbox.set_shape(Shape(stall=True))
    assert peer.outbox.stranded_bytes == 3
    peer.outbox.finish()
    peer.outbox.set_shape(Shape(limit_bytes=6))
    assert peer.outbox.unacked_bytes() == 0, "what the limit has dropped was never sent"
    assert (peer.outbox.withheld_bytes, peer.outbox.stranded_bytes, peer.outbox.passed_bytes) == (2, 2, 6)


def test_a_connection_that_is_over_does_not_stall_for_ever() -> None:
    peer = Peer(Shape(stall=True))
    peer.outbox.write(b"one")
    peer.outbox.reset()
    assert peer.pass_time(899) == []
    assert peer.pass_time(2) == [(900, "RST")]


def test_jitter_follows_the_draws_and_keeps_the_order() -> None:
    peer = Peer(Shape(delay_s=0.1, jitter_s=0.05), draws=(1.0, 0.0, 0.5))
    for piece in (b"one", b"two", b"three"):
        peer.outbox.write(piece)
    assert peer.pass_time(1) == [(0.15, b"onetwothree")]


def test_a_new_delay_holds_for_what_waits_already() -> None:
    peer = Peer(Shape(delay_s=10))
    peer.outbox.write(b"one")
    peer.pass_time(1)
    peer.outbox.set_shape(Shape(delay_s=2))
    assert peer.pass_time(10) == [(2, b"one")]


def test_what_waits_is_bounded_and_the_owner_hears_of_room() -> None:
    peer = Peer(Shape(delay_s=1))
    owner = peer.outbox.owner
    assert isinstance(owner, Owner)
    written = 0
    while peer.outbox.has_room:
        peer.outbox.write(bytes(64 * 1024))
        written += 64 * 1024
    assert written == HELD_BYTES
    assert peer.outbox.unacked_bytes() >= written - 64 * 1024
    calls = owner.calls
    peer.pass_time(2)
    assert owner.calls > calls
    assert peer.outbox.has_room


def test_the_owner_hears_of_room_that_a_new_shape_makes() -> None:
    peer = Peer(Shape(delay_s=10))
    owner = peer.outbox.owner
    assert isinstance(owner, Owner)
    peer.outbox.write(b"one")
    calls = owner.calls
    peer.outbox.set_shape(Shape())
    assert [piece for _, piece in peer.pass_time(0)] == [b"one"]
    assert owner.calls > calls


def test_a_rate_holds_with_a_long_delay_too() -> None:
    peer, piece = Peer(Shape(delay_s=1, rate_bytes_per_s=10_000_000)), bytes(250_000)
    came = 0
    for _ in range(200):
        while peer.outbox.has_room:
            peer.outbox.write(piece)
        came += sum(len(data) for _, data in peer.pass_time(0.01))
    assert came == pytest.approx(10_000_000, rel=0.02)


def test_the_memory_may_be_changed_at_once() -> None:
    peer = Peer(Shape(delay_s=1))
    memory = bytearray(b"one")
    peer.outbox.write(memory)
    memory[:] = b"two"
    assert peer.pass_time(2) == [(1, b"one")]


SHAPES = st.builds(
    Shape,
    delay_s=st.sampled_from([0.0, 0.001, 0.5]),
    jitter_s=st.sampled_from([0.0, 0.3]),
    rate_bytes_per_s=st.sampled_from([0.0, 1e5, 1e9]),
    slice_bytes=st.sampled_from([0, 1000, 200_000]),
    slice_delay_s=st.sampled_from([0.0, 0.001]),
    end_delay_s=st.sampled_from([0.0, 0.1]),
    stall=st.sampled_from([False, False, True]),
    slice_variation_bytes=st.sampled_from([0, 999]),
)
SIZES = st.sampled_from([1, 1000, 65_535, 65_536, 100_000, 256 << 10, 300_000])
WAITS = st.sampled_from([0.0, 0.0005, 0.3])


@given(st.lists(st.one_of(SHAPES, SIZES, WAITS), max_size=20), st.sampled_from(["FIN", "RST"]))
@settings(max_examples=25)
def test_whatever_the_shape_is_and_becomes_bytes_arrive_as_they_were_and_then_the_end(
    acts: list[Shape | int | float], end: str
) -> None:
    peer, sent, buffer = Peer(Shape(), draws=(0.3, 0.9) * 5000), b"", bytearray(300_000)
    for number, act in enumerate(acts):
        match act:
            case Shape():
                peer.outbox.set_shape(act)
            case int():
                buffer[:act] = random.Random(number).randbytes(act)  # noqa: S311 - any bytes will do
                sent += buffer[:act]
                peer.outbox.write(memoryview(buffer)[:act])
            case float():
                peer.loop.advance(act)
    peer.outbox.finish() if end == "FIN" else peer.outbox.reset()
    peer.outbox.set_shape(Shape(slice_bytes=70_000))
    *pieces, last = (piece for _, piece in peer.pass_time(10))
    came = b"".join(piece for piece in pieces if isinstance(piece, bytes))
    assert (len(came), came) == (len(sent), sent) if end == "FIN" else sent.startswith(came)
    assert last == end


def test_a_frozen_leg_sends_nothing_though_it_is_due() -> None:
    peer = Peer(Shape(delay_s=1))
    peer.outbox.write(b"one")
    peer.outbox.freeze()
    assert peer.pass_time(5) == []
    peer.outbox.thaw()
    assert peer.pass_time(0) == [(5, b"one")]


def test_shapes_add_up() -> None:
    one = Shape(delay_s=1, jitter_s=0.1, rate_bytes_per_s=100, limit_bytes=9)
    other = Shape(delay_s=2, rate_bytes_per_s=50, slice_bytes=3, slice_delay_s=0.5, limit_bytes=5, stall=True)
    both = Shape(3, 0.1, 50, 3, 0.5, 0, 5, stall=True)
    assert Shape.combined((one, other)) == Shape.combined((other, one)) == both
    assert Shape.combined(()) == Shape()
