"""The engine's turn: when it looks again at once, and when the host's loop goes on first."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable

import anyio
import anyio.lowlevel
import pytest
import sniffio

from relay.loop.spin import Spin
from support.bench import DEADLINE_S, open_engine


class Spins(Spin):
    """Counts how often it was asked to look again, and has nothing of it."""

    def __init__(self) -> None:
        super().__init__()
        self.count = 0

    def run(self, step: Callable[[float], bool]) -> None:
        self.count += 1


@pytest.fixture
def spins() -> Spins:
    return Spins()


@pytest.mark.anyio
async def test_it_looks_again_at_once_after_a_turn_that_delivered_something(readiness: str, spins: Spins) -> None:
    """Where only the host's loop tells, looking again before it has gone round is in vain."""
    near, peer = socket.socketpair()
    with near, peer:
        async with open_engine() as (engine, faults):
            engine.spin = spins
            heard = anyio.Event()
            near.setblocking(False)
            engine.watch_readable(near, heard.set)
            peer.sendall(b"x")
            with anyio.fail_after(DEADLINE_S):
                await heard.wait()
            assert spins.count == (0 if readiness == "tasks" else 1)
        assert faults == []


@pytest.mark.anyio
async def test_it_does_not_after_a_turn_of_timers_alone(readiness: str, spins: Spins) -> None:
    async with open_engine() as (engine, faults):
        engine.spin = spins
        due = anyio.Event()
        engine.call_later(0.01, due.set)
        with anyio.fail_after(DEADLINE_S):
            await due.wait()
        assert spins.count == 0
    assert faults == []


@pytest.mark.anyio
async def test_a_turn_is_over_when_nothing_is_left_of_what_was_put_off(
    readiness: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with open_engine() as (engine, faults):
        steps, step = list[float](), engine._step

        def counted(wait_s: float = 0) -> bool:
            steps.append(wait_s)
            return step(wait_s)

        monkeypatch.setattr(engine, "_step", counted)
        done = anyio.Event()
        engine.call_soon(lambda: engine.call_soon(done.set))
        with anyio.fail_after(DEADLINE_S):
            await done.wait()
        assert len(steps) < 10
    assert faults == []


@pytest.mark.anyio
async def test_nor_while_there_is_work_that_was_put_off(readiness: str, spins: Spins) -> None:
    near, peer = socket.socketpair()
    with near, peer:
        async with open_engine() as (engine, faults):
            engine.spin = spins
            done = anyio.Event()
            near.setblocking(False)
            engine.watch_readable(near, lambda: engine.call_soon(lambda: engine.call_soon(done.set)))
            peer.sendall(b"x")
            with anyio.fail_after(DEADLINE_S):
                await done.wait()
            assert spins.count == 0
        assert faults == []


def test_what_it_calls_knows_its_library_in_a_program_of_plain_asyncio() -> None:
    """Where no task is running, and nothing of anyio has said which library it is."""
    known: list[str] = []

    async def program() -> None:
        called = asyncio.Event()

        def ask() -> None:
            called.set()
            known.append(sniffio.current_async_library())

        async with open_engine() as (engine, faults):
            engine.call_later(0.01, ask)  # not in the first turn, which is a task's
            await asyncio.wait_for(called.wait(), DEADLINE_S)
        assert faults == []

    asyncio.run(program())
    assert known == ["asyncio"]


@pytest.mark.anyio
async def test_what_is_shared_is_one_object_for_each_engine_and_closed_with_it() -> None:
    class Shared:
        closed = False

        def close(self) -> None:
            self.closed = True

    async with open_engine() as (engine, faults), open_engine() as (other, _):
        shared = engine.shared(Shared)
        assert engine.shared(Shared) is shared
        assert other.shared(Shared) is not shared
        assert not shared.closed
    assert shared.closed
    assert faults == []


@pytest.mark.anyio
async def test_with_bulk_the_hosts_other_tasks_wait_for_one_turn_at_a_time(readiness: str) -> None:
    near, peer = socket.socketpair()
    with near, peer:
        async with open_engine() as (engine, faults):
            turns, waker, over = 0, engine._waker, False
            turn = waker._turn  # type: ignore[attr-defined]

            def counted() -> None:
                nonlocal turns
                turns += 1
                turn()

            def bulk() -> None:
                if not over:
                    engine.call_soon(bulk)

            def timer() -> None:
                if not over:
                    engine.call_later(0, timer)

            waker._turn = counted  # type: ignore[attr-defined]
            near.setblocking(False)
            engine.watch_readable(near, lambda: None)
            peer.sendall(b"x")
            bulk()
            timer()
            rounds = 20
            for _ in range(rounds):
                await anyio.lowlevel.checkpoint()
            over = True
        assert faults == []
    assert turns <= rounds + 2
