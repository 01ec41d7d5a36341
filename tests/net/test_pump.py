"""What a pump moves arrives whole and in order, be it copied or spliced, and what waits on the way is accounted for."""

from __future__ import annotations

import contextlib
import hashlib
import socket
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

import anyio
import pytest

from relay.events import Side
from relay.loop.engine import BUFFER_BYTES, Engine
from relay.net.kernel_leg import KernelLeg
from relay.net.pipe import PIPE_BYTES, Pipe, PipePool
from relay.net.pump import BUDGET_BYTES, BULK_BYTES, TURN_S, Outcome, Pump, TranslatingPump
from relay.testing import MemoryLoop, memory_pair
from support.bench import DEADLINE_S, Owner, in_thread, open_engine, socket_pair
from support.origins import read_exactly

pytestmark = pytest.mark.anyio

MUCH = hashlib.shake_128(b"much").digest(4 * BULK_BYTES + 12_345)


class Carried:
    """Two legs and the pump between them, run whenever one of them is ready."""

    def __init__(self, engine: Engine, near: socket.socket, far: socket.socket) -> None:
        self.engine = engine
        self.near = KernelLeg(engine, near, Side.INTERNAL, self)
        self.far = KernelLeg(engine, far, Side.EXTERNAL, self)
        self.pump = Pump(self.near, self.far)
        self.called = anyio.Event()

    async def stalled(self) -> Pipe:
        """Wait until the far side takes no more, and return the pipe that the rest is in."""
        with anyio.fail_after(DEADLINE_S):
            while not isinstance(self.far.unsent, Pipe):
                await self.called.wait()
        return self.far.unsent

    def on_leg_ready(self, leg: KernelLeg) -> None:
        match self.pump.run():
            case Outcome.SPENT:
                self.engine.call_soon(lambda: self.on_leg_ready(leg))
            case Outcome.FINISHED:
                self.far.finish()
            case _:
                pass
        self.called.set()
        self.called = anyio.Event()


@dataclass(frozen=True)
class Ends:
    carried: Carried
    sender: socket.socket
    receiver: socket.socket


@asynccontextmanager
async def carrying() -> AsyncIterator[Ends]:
    (near, sender), (far, receiver) = socket_pair(), socket_pair()
    with sender, receiver:
        async with open_engine() as (engine, faults):
            yield Ends(Carried(engine, near, far), sender, receiver)
        assert faults == []


@pytest.fixture(params=["spliced", "copied"])
def how(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Whether there are pipes, as on Linux, or none, as elsewhere."""
    name: str = request.param
    if name == "copied":
        monkeypatch.setattr("relay.net.pipe._MAX_PIPES", 0)
    elif sys.platform != "linux":
        pytest.skip("splice is Linux's")
    return name


def read_to_end(sock: socket.socket) -> str:
    digest = hashlib.sha256()
    while data := sock.recv(1 << 16):
        digest.update(data)
    return digest.hexdigest()


def fill(ends: Ends) -> None:
    """Send far more than the receiver's side has room for, so that there is always more to read before it stalls."""
    ends.carried.far.sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
    ends.sender.setblocking(False)
    sent = 0
    with contextlib.suppress(BlockingIOError):
        while sent < len(MUCH):
            sent += ends.sender.send(MUCH[sent:])


def send_and_end(sock: socket.socket, data: bytes) -> None:
    sock.sendall(data)
    sock.shutdown(socket.SHUT_WR)


async def test_bulk_arrives_whole(how: str) -> None:
    async with carrying() as ends:
        results: list[str] = []

        async def receive() -> None:
            results.append(await in_thread(read_to_end, ends.receiver))

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(receive)
            await in_thread(send_and_end, ends.sender, MUCH)
        assert results == [hashlib.sha256(MUCH).hexdigest()]
        assert ends.carried.pump.moved_bytes == len(MUCH)
        assert bool(ends.carried.engine.shared(PipePool)._idle) == (how == "spliced")


class Generous(KernelLeg):
    """A leg whose peer sends more each time it is read, up to four budgets of it."""

    far_end: socket.socket
    left_bytes = 4 * BUDGET_BYTES

    def receive_into(self, buffer: memoryview) -> int:
        self._have_more_sent()
        return super().receive_into(buffer)

    def splice_into(self, pipe: Pipe) -> int:
        self._have_more_sent()
        return super().splice_into(pipe)

    def _have_more_sent(self) -> None:
        if self.left_bytes:
            self.far_end.sendall(PIECE)
            self.left_bytes -= len(PIECE)


class Bottomless(KernelLeg):
    """A leg whose peer takes at once what it is sent."""

    far_end: socket.socket

    def write(self, data: bytes | bytearray | memoryview) -> None:
        super().write(data)
        read_exactly(self.far_end, len(data))

    def write_from(self, pipe: Pipe) -> None:
        count = len(pipe)
        super().write_from(pipe)
        read_exactly(self.far_end, count)


PIECE = bytes(32 * 1024)


async def test_others_have_their_turn_when_a_pump_has_used_up_its_budget(how: str) -> None:
    (near, sender), (far, receiver) = socket_pair(), socket_pair()
    with sender, receiver:
        async with open_engine() as (engine, faults):
            source, sink = (
                Generous(engine, near, Side.INTERNAL, Owner()),
                Bottomless(engine, far, Side.EXTERNAL, Owner()),
            )
            source.far_end, sink.far_end = sender, receiver
            engine.buffer = memoryview(bytearray(len(PIECE)))  # a read that fills it leaves the leg readable
            pump = Pump(source, sink)
            pump.moved_bytes = already = BULK_BYTES if how == "spliced" else 0
            source.readable = True
            assert pump.run() is Outcome.SPENT
            assert BUDGET_BYTES > 4 * BUFFER_BYTES, "a turn is worth several reads"
            assert BUDGET_BYTES <= pump.moved_bytes - already < BUDGET_BYTES + len(PIECE)
            assert bool(engine.shared(PipePool)._idle) == (how == "spliced")
        assert faults == []


async def test_what_a_stalled_receiver_leaves_in_a_pipe_counts_and_is_sent_before_what_comes_behind_it() -> None:
    if sys.platform != "linux":
        pytest.skip("splice is Linux's")
    async with carrying() as ends:
        leg = ends.carried.far
        ends.carried.pump.moved_bytes = BULK_BYTES
        fill(ends)
        held = len(await ends.carried.stalled())
        assert 0 < held <= PIPE_BYTES
        assert leg.unacked_bytes() > held
        passed = ends.carried.pump.moved_bytes - BULK_BYTES
        ends.carried.pump.sink = None  # what comes from here on is dropped
        leg.write(b"behind")
        assert isinstance(leg.unsent, bytearray)
        assert not ends.carried.engine.shared(PipePool)._lent
        expected = MUCH[:passed] + b"behind"
        assert await in_thread(receive_exactly, ends.receiver, len(expected)) == expected


def receive_exactly(sock: socket.socket, count: int) -> bytes:
    data = bytearray()
    while len(data) < count:
        data += sock.recv(min(1 << 16, count - len(data)))
    return bytes(data)


async def test_a_pipe_is_given_back_when_the_receiver_resets() -> None:
    if sys.platform != "linux":
        pytest.skip("splice is Linux's")
    async with carrying() as ends:
        leg, pool = ends.carried.far, ends.carried.engine.shared(PipePool)
        ends.carried.pump.moved_bytes = BULK_BYTES
        lendable = pool._lendable
        fill(ends)
        held = len(await ends.carried.stalled())
        leg.broken = 104
        leg.flush()
        assert not isinstance(leg.unsent, Pipe)
        assert leg.unacked_bytes() >= held
        ends.carried.on_leg_ready(leg)  # reads on, and drops
        assert pool._lendable + len(pool._idle) == lendable


async def test_a_provider_that_raises_takes_no_pipe_with_it() -> None:
    if sys.platform != "linux":
        pytest.skip("splice is Linux's")
    async with carrying() as ends:
        pool, pump = ends.carried.engine.shared(PipePool), ends.carried.pump
        pump.moved_bytes, ends.carried.near.readable = BULK_BYTES, True

        def fail() -> None:
            raise ZeroDivisionError

        ends.carried.near.ask_tos = fail
        with pytest.raises(ZeroDivisionError):
            pump.run()
        assert not pool._lent
        ends.carried.near.ask_tos = None


@pytest.mark.parametrize("moved_bytes", [0, BULK_BYTES])
async def test_a_leg_that_asking_has_closed_is_read_no_more(moved_bytes: int) -> None:
    async with carrying() as ends:
        carried, is_over = ends.carried, False
        carried.pump.moved_bytes = moved_bytes

        def ask() -> None:
            if is_over:
                carried.near.close()

        carried.near.ask_tos = ask
        ends.sender.sendall(b"one")
        assert await in_thread(read_exactly, ends.receiver, 3) == b"one"
        is_over = True
        ends.sender.sendall(b"two")
        with anyio.fail_after(DEADLINE_S):
            while not carried.near.closed:
                await carried.called.wait()
        assert carried.pump.moved_bytes == moved_bytes + 3
        assert not carried.engine.shared(PipePool)._lent


@pytest.mark.parametrize("moved_bytes", [0, BULK_BYTES])
async def test_what_comes_for_a_sink_that_asking_has_given_up_is_read_and_dropped(moved_bytes: int) -> None:
    async with carrying() as ends:
        pump = ends.carried.pump
        pump.moved_bytes = moved_bytes

        def give_up() -> None:
            pump.sink = None

        ends.carried.near.ask_tos = give_up
        ends.sender.sendall(b"lost")
        with anyio.fail_after(DEADLINE_S):
            while pump.moved_bytes < moved_bytes + 4:
                await ends.carried.called.wait()
        assert ends.carried.far.unacked_bytes() == 0
        assert not ends.carried.engine.shared(PipePool)._lent


def test_run_dry_moves_what_is_there_though_the_sink_has_no_room() -> None:
    loop = MemoryLoop()
    app, near = memory_pair(loop, Side.INTERNAL)
    server, far = memory_pair(loop, Side.EXTERNAL)
    server.limit_window(10)
    app.write(bytes(1000))
    pump = Pump(near, far)
    pump.run_dry()
    assert (pump.moved_bytes, near.unread_bytes(), far.unacked_bytes()) == (1000, 0, 990)


class Sluggish:
    """A translator that takes a hundred calls for whatever it gets, each a bit more than a quarter of a turn."""

    def __init__(self) -> None:
        self.calls = self.left = 0

    def __call__(self, data: bytes) -> bytes:
        assert not (data and self.left), "it was given more before it was through"
        self.calls += 1
        self.left = 99 if data else self.left - 1
        return b"x"

    def now_s(self) -> float:
        return self.calls * TURN_S * 0.2501


async def test_translating_stops_when_its_time_is_up_and_goes_on_where_it_stopped(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    translator = Sluggish()
    async with carrying() as ends:
        monkeypatch.setattr(ends.carried.engine, "now_s", translator.now_s)
        near, far = ends.carried.near, ends.carried.far
        pump = TranslatingPump(near, far, translator, lambda: translator.left > 0)
        ends.sender.sendall(b"data")
        near.readable = True
        for turn in range(1, 26):
            assert pump.run() is Outcome.SPENT
            assert translator.calls == 4 * turn
        assert pump.run() is Outcome.WAITING
        assert await in_thread(receive_exactly, ends.receiver, 100) == b"x" * 100


async def test_what_translating_has_left_waits_for_its_sides_and_is_no_reason_to_spin() -> None:
    translator = Sluggish()
    async with carrying() as ends:
        near, far = ends.carried.near, ends.carried.far
        pump = TranslatingPump(near, far, translator, lambda: translator.left > 0)
        pump.hand_on(b"data")
        near.freeze()
        assert (pump.run(), pump.can_go_on(), translator.calls) == (Outcome.WAITING, False, 1)
        near.thaw()
        far.unsent = b"until this has gone"
        assert (pump.run(), pump.can_go_on(), translator.calls) == (Outcome.WAITING, False, 1)
        far.unsent = b""
        pump.sink = None
        assert (pump.run(), pump.can_go_on(), translator.calls) == (Outcome.WAITING, False, 1)
        pump.sink = far
        assert pump.can_go_on()
        pump.run_dry()
        assert (translator.calls, translator.left) == (100, 0)
