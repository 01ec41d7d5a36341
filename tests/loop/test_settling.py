"""An engine comes to rest before its NAT's clock is moved on, and after each thing that is due meanwhile."""

from __future__ import annotations

import socket
from collections.abc import Callable

import anyio
import pytest

from relay.loop.engine import Engine
from relay.loop.settling import Restless, Steps, advancing, finish, follow, settling
from support.bench import DEADLINE_S, open_engine

PATIENCE_S = 0.05
SETTLES_WITHIN_S = 5.0  # an engine of a busy host, if it has nothing to do
RESTLESS_AFTER_S = 0.02  # one that has


def always() -> bool:
    return True


async def carry_out(engine: Engine, steps: Steps[None], *, waits: bool) -> None:
    if waits:
        await follow(engine, steps)
    else:
        finish(engine, steps)


async def begun(engine: Engine) -> None:
    """Until the engine runs."""
    started = anyio.Event()
    engine.call_soon(started.set)
    with anyio.fail_after(DEADLINE_S):
        await started.wait()


@pytest.mark.anyio
@pytest.mark.parametrize("waits", [True, False])
async def test_an_engine_has_heard_what_a_timer_sent_before_it_runs_the_next(readiness: str, waits: bool) -> None:
    if readiness == "tasks" and not waits:
        return  # tasks have no turn then
    heard: list[str] = []
    near, peer = socket.socketpair()
    with near, peer:
        near.setblocking(False)
        async with open_engine() as (engine, faults):
            engine.watch_readable(near, lambda: heard.append(near.recv(100).decode()))
            await begun(engine)
            for text in ("a", "b"):
                engine.nat.call_later(10, lambda text=text: peer.sendall(text.encode()))  # type: ignore[misc]
            peer.sendall(b"before")
            await carry_out(engine, settling(engine, always), waits=waits)
            assert heard == ["before"]
            await carry_out(engine, advancing(engine, 10, always), waits=waits)
            assert heard == ["before", "a", "b"]
            assert not faults


@pytest.mark.anyio
@pytest.mark.parametrize("waits", [True, False])
async def test_an_engine_that_always_has_something_to_do_does_not_settle(
    monkeypatch: pytest.MonkeyPatch, waits: bool
) -> None:
    def patience_s(seconds: float) -> None:
        monkeypatch.setattr("relay.loop.settling.SETTLE_S", seconds)

    async with open_engine() as (engine, _):
        over = False

        def again() -> None:
            if not over:
                engine.call_soon(again)

        engine.call_soon(again)
        patience_s(RESTLESS_AFTER_S)
        with pytest.raises(Restless) as caught:
            await carry_out(engine, settling(engine, always), waits=waits)
        assert caught.value.moved_s is None
        over = True
        patience_s(SETTLES_WITHIN_S)
        await carry_out(engine, settling(engine, always), waits=waits)
        engine.nat.call_later(10, again)
        engine.nat.call_later(20, again)
        over = False
        patience_s(RESTLESS_AFTER_S)
        began_s = engine.nat.now_s()
        with pytest.raises(Restless) as caught:
            await carry_out(engine, advancing(engine, 15, always), waits=waits)
        over = True
        assert caught.value.moved_s == pytest.approx(10, abs=1)
        assert engine.nat.now_s() - began_s == pytest.approx(10, abs=1)


@pytest.mark.anyio
@pytest.mark.parametrize("waits", [True, False])
async def test_it_looks_again_until_the_one_who_asks_agrees(waits: bool) -> None:
    async with open_engine() as (engine, _):
        answers = [True, False, False]
        await carry_out(engine, settling(engine, answers.pop), waits=waits)
        assert not answers


@pytest.mark.anyio
async def test_after_a_callback_that_leaves_nothing_to_do_it_does_not_ask() -> None:
    near, peer = socket.socketpair()
    near.setblocking(False)
    heard: list[bytes] = []
    async with open_engine() as (engine, _):
        engine.watch_readable(near, lambda: heard.append(near.recv(100)))
        asked = list[float]()

        def rests() -> bool:
            asked.append(engine.nat.now_s())
            return True

        await begun(engine)
        finish(engine, settling(engine, always))
        engine.nat.call_later(10, lambda: None)
        engine.nat.call_later(20, lambda: engine.call_soon(lambda: None))
        engine.nat.call_later(30, lambda: peer.sendall(b"x"))
        finish(engine, advancing(engine, 40, rests))
        assert asked == [pytest.approx(20, abs=1), pytest.approx(30, abs=1)]
    peer.close()


@pytest.mark.anyio
async def test_other_tasks_go_on_while_it_waits() -> None:
    async with open_engine() as (engine, _), anyio.create_task_group() as tasks:
        done = anyio.Event()

        async def other() -> None:
            done.set()

        tasks.start_soon(other)
        await follow(engine, settling(engine, done.is_set))


@pytest.mark.anyio
async def test_one_who_does_not_wait_any_more_leaves_the_clock_running() -> None:
    async with open_engine() as (engine, _):
        engine.nat.call_later(10, lambda: engine.call_soon(lambda: None))
        with anyio.move_on_after(PATIENCE_S):
            await follow(engine, advancing(engine, 300, lambda: False))
        fired = anyio.Event()
        engine.nat.call_later(0.01, fired.set)
        with anyio.fail_after(DEADLINE_S):
            await fired.wait()
        assert engine.nat.now_s() < 100


@pytest.mark.anyio
@pytest.mark.parametrize(
    "steps", [lambda engine: settling(engine, always), lambda engine: advancing(engine, 1, always)]
)
async def test_a_callback_cannot_settle_its_own_engine(steps: Callable[[Engine], Steps[None]]) -> None:
    called = anyio.Event()
    async with open_engine() as (engine, faults):

        def settle() -> None:
            called.set()
            engine.nat.call_later(0, lambda: None)
            finish(engine, steps(engine))

        engine.call_soon(settle)
        with anyio.fail_after(DEADLINE_S):
            await called.wait()
        assert [str(fault) for fault in faults] == ["a callback of the relay's cannot advance its clock"]
