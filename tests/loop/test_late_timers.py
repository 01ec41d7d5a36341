"""Timers of a process that stood still: what arrived before they were due is taken first."""

from __future__ import annotations

import socket
import time
from collections.abc import Iterator
from contextlib import ExitStack

import anyio
import pytest

from relay.clock import real_s
from relay.loop.engine import Engine
from relay.loop.timers import Timer
from support.bench import DEADLINE_S, open_engine

_MAX_EVENTS = 8
_CALLERS = 5 * _MAX_EVENTS
_LIMIT_S = 0.1

pytestmark = pytest.mark.anyio


@pytest.fixture(autouse=True)
def few_events_in_one_go(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("relay.loop.readiness._queue.KernelQueue.max_events", _MAX_EVENTS)


@pytest.fixture
def pairs() -> Iterator[list[tuple[socket.socket, socket.socket]]]:
    """Connected sockets; the first of each pair does not block."""
    with ExitStack() as stack:
        made = [socket.socketpair() for _ in range(_CALLERS)]
        for near, peer in made:
            stack.enter_context(near)
            stack.enter_context(peer)
            near.setblocking(False)
        yield made


class Outcomes:
    """Which callers were heard, and which ran out of time."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._timers: dict[socket.socket, Timer] = {}
        self.heard = self.late = 0
        self.settled = anyio.Event()

    def await_word(self, sock: socket.socket) -> None:
        """Listen to a caller."""
        self._engine.watch_readable(sock, lambda: self._on_word(sock))

    def begin_limit(self, sock: socket.socket) -> None:
        """Give a caller `_LIMIT_S` from now to say something."""
        self._timers[sock] = self._engine.call_later(_LIMIT_S, self._on_late)

    def _on_word(self, sock: socket.socket) -> None:
        if sock.recv(10):
            self._timers[sock].cancel()
            self.heard += 1
            self._count()

    def _on_late(self) -> None:
        self.late += 1
        self._count()

    def _count(self) -> None:
        if self.heard + self.late == _CALLERS:
            self.settled.set()


def stand_still() -> None:
    """Do nothing, on the engine's own thread, until every timer is long due."""
    time.sleep(2 * _LIMIT_S)


async def test_all_who_spoke_in_time_are_heard(
    readiness: str, pairs: list[tuple[socket.socket, socket.socket]]
) -> None:
    async with open_engine() as (engine, faults):
        outcomes = Outcomes(engine)
        for near, _ in pairs:
            outcomes.await_word(near)

        def speak_and_stand_still() -> None:
            """All in one callback, for a busy host may be slower than the limit between two."""
            for near, peer in pairs:
                outcomes.begin_limit(near)
                peer.sendall(b"in time")
            stand_still()

        engine.call_soon(speak_and_stand_still)
        with anyio.fail_after(DEADLINE_S):
            await outcomes.settled.wait()
        assert (outcomes.heard, outcomes.late) == (_CALLERS, 0)
        assert not faults


async def test_a_late_timer_waits_for_nothing_where_the_kernel_itself_says_what_is_ready(readiness: str) -> None:
    """Where tasks say it, the host's loop goes round a few times first."""
    async with open_engine() as (engine, faults):
        fired: list[str] = []
        engine.call_later(0.0, lambda: fired.append("late"))
        stand_still()
        engine.work(real_s())
        assert fired == ([] if readiness == "tasks" else ["late"])
        assert not faults


async def test_a_flood_keeps_no_timer_from_its_turn(
    readiness: str, pairs: list[tuple[socket.socket, socket.socket]]
) -> None:
    """As many sockets are ready each time as one delivery holds."""
    async with open_engine() as (engine, faults):
        fired = anyio.Event()

        def speak_again(near: socket.socket, peer: socket.socket) -> None:
            near.recv(10)
            peer.sendall(b"again")

        for near, peer in pairs:
            engine.watch_readable(near, lambda near=near, peer=peer: speak_again(near, peer))  # type: ignore[misc]
            peer.sendall(b"first")
        engine.call_later(_LIMIT_S, fired.set)
        with anyio.fail_after(DEADLINE_S):
            await fired.wait()
        assert not faults
