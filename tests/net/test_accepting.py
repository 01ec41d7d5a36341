"""A listener of the engine's: what it hands over, and what becomes of it when that goes wrong."""

from __future__ import annotations

import contextlib
import errno
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import anyio
import pytest

from relay.address import Endpoint
from relay.loop.engine import Engine
from relay.net.listen import Listener, open_listener
from relay.net.pipe import PipePool
from support.bench import DEADLINE_S, in_thread, open_engine

pytestmark = pytest.mark.anyio


class Callers:
    """Those whom a listener has let in."""

    def __init__(self) -> None:
        self.sockets: list[socket.socket] = []
        self.came = anyio.Event()
        self.first: Callable[[socket.socket], None] = lambda sock: None
        """What is done with each before it counts as let in."""

    def accepted(self, sock: socket.socket) -> None:
        self.first(sock)
        self.sockets.append(sock)
        self.came.set()
        self.came = anyio.Event()

    async def until(self, count: int) -> None:
        with anyio.fail_after(DEADLINE_S):
            while len(self.sockets) < count:
                await self.came.wait()


@asynccontextmanager
async def listening() -> AsyncIterator[tuple[Engine, Listener, Callers, list[Exception]]]:
    callers, states = Callers(), list[str]()
    async with open_engine() as (engine, faults):
        sock = open_listener(Endpoint("127.0.0.1", 0), where="--listen")
        listener = Listener(engine, sock, callers.accepted, states.append, lambda: states.append("resumed"))
        with contextlib.ExitStack() as stack:
            try:
                yield engine, listener, callers, faults
            finally:
                for caller in callers.sockets:
                    stack.enter_context(caller)
                listener.close()
    assert states == []


async def test_more_than_a_burst_of_callers_are_all_let_in_and_none_blocks() -> None:
    async with listening() as (engine, listener, callers, faults):
        with contextlib.ExitStack() as stack:
            for _ in range(150):
                stack.enter_context(socket.create_connection(listener.address, DEADLINE_S))
            await callers.until(150)
            assert {sock.getblocking() for sock in callers.sockets} == {False}
            assert engine.unwatched == set()
        assert faults == []


async def test_others_have_their_turn_after_64_callers() -> None:
    async with listening() as (engine, listener, callers, faults):
        with contextlib.ExitStack() as stack:
            for _ in range(65):
                stack.enter_context(socket.create_connection(listener.address, DEADLINE_S))
            listener.on_ready(False, True, False)
            assert len(callers.sockets) == 0
            listener.on_ready(True, False, False)
            assert (len(callers.sockets), len(engine._deferred)) == (64, 1)
            await callers.until(65)
        assert faults == []


async def test_a_fault_with_one_caller_is_reported_ends_that_call_and_no_other() -> None:
    async with listening() as (engine, listener, callers, faults):
        with socket.create_connection(listener.address, DEADLINE_S) as unlucky:

            def turn_away(sock: socket.socket) -> None:
                if sock.getpeername() == unlucky.getsockname():
                    raise ValueError("not this one")

            callers.first = turn_away
            with socket.create_connection(listener.address, DEADLINE_S):
                await callers.until(1)
                assert [str(fault) for fault in faults] == ["not this one"]
                assert await in_thread(unlucky.recv, 1) == b""
                assert engine.unwatched == set()


async def test_a_listener_that_is_closed_in_the_middle_of_a_burst_lets_no_other_in() -> None:
    async with listening() as (_, listener, callers, faults):
        callers.first = lambda sock: listener.close()
        with contextlib.ExitStack() as stack:
            for _ in range(3):
                stack.enter_context(socket.create_connection(listener.address, DEADLINE_S))
            await callers.until(1)
            await anyio.lowlevel.checkpoint()
        assert len(callers.sockets) == 1
        assert faults == []


class Failing:
    """A listening socket of which the next calls of accept fail."""

    def __init__(self, sock: socket.socket, *numbers: int) -> None:
        self._sock, self._numbers = sock, list(numbers)

    def accept(self) -> tuple[socket.socket, object]:
        if self._numbers:
            raise OSError(self._numbers.pop(0), "as the test has it")
        return self._sock.accept()


async def test_what_is_accepted_sends_at_once() -> None:
    async with listening() as (_, listener, callers, _):
        with socket.create_connection(listener.address, DEADLINE_S):
            await callers.until(1)
            assert callers.sockets[0].getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)


async def test_a_listener_at_rest_has_one_timer_and_gives_up_its_pipes_that_wait() -> None:
    async with open_engine() as (engine, faults):
        sock = open_listener(Endpoint("127.0.0.1", 0), where="--listen")
        listener = Listener(engine, sock, print, print, print)
        pool = engine.shared(PipePool)
        if (pipe := pool.borrow()) is not None:
            pipe.give_back()
        began_s = engine.now_s()
        for _ in range(2):
            listener._rest(OSError(errno.EMFILE, "as the test has it"))
        (due_s,) = (timer.due_s for _, _, timer in engine._timers._heap if timer.take() is not None)
        assert began_s + 0.1 <= due_s <= engine.now_s() + 0.1
        assert not pool._idle
        listener.close()
    assert not faults


async def test_without_a_descriptor_callers_wait_and_the_log_says_so_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("relay.net.listen._REST_S", 0.01)
    callers, states = Callers(), list[str]()
    async with open_engine() as (engine, faults):
        sock = open_listener(Endpoint("127.0.0.1", 0), where="--listen")
        listener = Listener(engine, sock, callers.accepted, states.append, lambda: states.append("resumed"))
        address = listener.address
        for numbers in ((errno.ECONNABORTED,), (errno.EMFILE, errno.ENFILE, errno.ECONNABORTED)):
            count = len(callers.sockets)
            listener.sock = Failing(sock, *numbers)  # type: ignore[assignment]
            with socket.create_connection(address, DEADLINE_S):
                await callers.until(count + 1)
                await anyio.sleep(0.02)
            listener.sock = sock
        with socket.create_connection(address, DEADLINE_S):
            await callers.until(3)
        listener.close()
        for caller in callers.sockets:
            caller.close()
    assert states == ["too many open files; raise the limit (ulimit -n) or end some connections", "resumed"]
    assert faults == []
