"""Who has the engine take its turn: when a socket is ready, when a timer is due, when something was put off.

    asyncio   callbacks of the event loop itself: the epoll stays registered as one of its readers
    tasks     anything that anyio runs on: one task waits for readiness, another for the clock

The first is no mere short cut. `anyio.wait_readable` on asyncio registers its descriptor for each wait anew, and Linux,
lest epolls watch each other in a circle, then walks through everything that our epoll watches: 1 ms and more with
10,000 flows. Trio only modifies what it has registered, which costs the same for any number.
"""

from __future__ import annotations

import asyncio
import contextvars
import math
import time
from collections.abc import Callable
from typing import Protocol

import anyio
import sniffio

from relay.backend import running_backend
from relay.net.readiness import Readiness


class Waker(Protocol):
    """Calls the engine's turn, on the engine's thread, for as long as `run` runs. Nothing happens before and after."""

    due_s: float
    """The moment that `at` has asked for, on the monotonic clock; infinity before, and once it has come."""

    def soon(self) -> None:
        """Take a turn after whatever else is ready to run."""

    def at(self, due_s: float) -> None:
        """Take a turn at this moment; it takes the place of the last such wish."""

    async def run(self, readiness: Readiness) -> None:
        """Take a turn now, and then whenever there is reason to, until cancelled."""


class AsyncioWaker:
    """Wakes by callbacks of the running asyncio (or uvloop) event loop."""

    def __init__(self, turn: Callable[[], None]) -> None:
        self._loop = asyncio.get_running_loop()
        # A callback is in no task, by which sniffio, and so anyio, would know that asyncio runs.
        self._context = contextvars.copy_context()
        self._context.run(sniffio.current_async_library_cvar.set, "asyncio")
        self._turn = turn
        self.due_s = math.inf
        self._soon: asyncio.Handle | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._running = False

    def soon(self) -> None:
        if self._running and self._soon is None:
            self._soon = self._loop.call_soon(self._on_soon, context=self._context)

    def at(self, due_s: float) -> None:
        if self._timer is not None:
            self._timer.cancel()
        if self._running:
            self.due_s = due_s
            delay_s = max(0.0, due_s - time.monotonic())
            self._timer = self._loop.call_later(delay_s, self._on_due, context=self._context)

    async def run(self, readiness: Readiness) -> None:
        self._running = True
        descriptor = readiness.descriptor
        try:
            self._turn()
            if descriptor is None:
                while True:
                    await readiness.wait()
                    self._turn()
            self._context.run(self._loop.add_reader, descriptor, self._turn)
            await anyio.sleep_forever()
        finally:
            self._running = False
            if descriptor is not None:
                self._loop.remove_reader(descriptor)
            for handle in (self._soon, self._timer):
                if handle is not None:
                    handle.cancel()

    def _on_due(self) -> None:
        self.due_s = math.inf
        self._turn()

    def _on_soon(self) -> None:
        self._soon = None
        self._turn()


class TaskWaker:
    """Wakes by two tasks."""

    def __init__(self, turn: Callable[[], None]) -> None:
        self._turn = turn
        self.due_s = math.inf
        self._changed = anyio.Event()

    def soon(self) -> None:
        self._changed.set()

    def at(self, due_s: float) -> None:
        self.due_s = due_s
        self._changed.set()

    async def run(self, readiness: Readiness) -> None:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(self._follow_clock)
            while True:
                await readiness.wait()
                self._turn()

    async def _follow_clock(self) -> None:
        while True:
            self._changed = anyio.Event()
            self._turn()
            with anyio.move_on_after(self.due_s - time.monotonic()):
                await self._changed.wait()
            if self.due_s <= time.monotonic():
                self.due_s = math.inf


def open_waker(turn: Callable[[], None]) -> Waker:
    """The one for the async library that is running."""
    # Where trio is a guest of an asyncio loop both run in this thread, and our tasks are trio's.
    return TaskWaker(turn) if running_backend() == "trio" else AsyncioWaker(turn)
