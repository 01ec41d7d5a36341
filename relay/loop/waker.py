"""What makes the engine take its turn: a ready socket, a due timer, a deferred call.

    asyncio   callbacks of the event loop itself: the epoll, and the alarm, stay registered as readers of it
    tasks     anything that anyio runs on: one task for readiness, one for the alarm, one for what is put off

The first is more than a short cut. `anyio.wait_readable` on asyncio registers its descriptor anew for each wait. Linux
then walks through everything that our epoll watches, to rule out that epolls watch each other in a circle: 1 ms and
more with 10,000 flows. Trio only modifies what it has registered, which costs the same for any number.

Timers are an alarm's (`relay.loop.alarm`), not the async library's: its clock may be a test's.
"""

from __future__ import annotations

import contextvars
import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Protocol

import anyio
import sniffio

from relay.backend import running_backend
from relay.loop.alarm import Alarm, open_alarm
from relay.loop.readiness import Readiness

if TYPE_CHECKING:
    import asyncio


class Waker(Protocol):
    """Calls the engine's turn, on the engine's thread, for as long as `run` runs, and at no other time."""

    due_s: float
    """The moment that `at` has asked for, on the real clock; infinity before, and once it has come."""

    def soon(self) -> None:
        """Take a turn after whatever else is ready to run."""

    def at(self, due_s: float) -> None:
        """Take a turn at this moment; a new call replaces the last one."""

    async def run(self, readiness: Readiness) -> None:
        """Take a turn now, and then whenever there is reason to, until cancelled."""


class _Alarmed:
    """What every waker does with its alarm."""

    def __init__(self, turn: Callable[[], None]) -> None:
        self._turn = turn
        self._alarm: Alarm | None = None
        self.due_s = math.inf

    def at(self, due_s: float) -> None:
        if self._alarm is not None:
            self.due_s = due_s
            self._alarm.set(due_s)

    @property
    def _is_coming(self) -> bool:
        """Whether a turn was asked for by `soon`, and has not begun."""
        raise NotImplementedError

    def _wake(self) -> None:
        """Take a turn, unless one comes anyway: with bulk it takes milliseconds, which the host's other tasks wait."""
        if not self._is_coming:
            self._turn()

    def _on_alarm(self) -> None:
        if self._alarm is not None:
            self.due_s = math.inf
            self._alarm.clear()
            self._wake()

    @contextmanager
    def _with_alarm(self) -> Iterator[Alarm]:
        self._alarm = alarm = open_alarm()
        try:
            yield alarm
        finally:
            self._alarm = None
            alarm.close()

    async def _follow_alarm(self, alarm: Alarm) -> None:
        while True:
            await anyio.wait_readable(alarm.fileno())
            self._on_alarm()


class AsyncioWaker(_Alarmed):
    """Wakes by callbacks of the running asyncio (or uvloop) event loop."""

    def __init__(self, turn: Callable[[], None]) -> None:
        import asyncio  # noqa: PLC0415 - on trio it would be loaded for nothing

        super().__init__(turn)
        self._loop = asyncio.get_running_loop()
        # A callback is in no task, by which sniffio, and so anyio, would know that asyncio runs.
        self._context = contextvars.copy_context()
        self._context.run(sniffio.current_async_library_cvar.set, "asyncio")
        self._soon: asyncio.Handle | None = None

    @property
    def _is_coming(self) -> bool:
        return self._soon is not None

    def soon(self) -> None:
        if self._alarm is not None and self._soon is None:
            self._soon = self._loop.call_soon(self._on_soon, context=self._context)

    async def run(self, readiness: Readiness) -> None:
        with self._with_alarm() as alarm:
            self._turn()
            try:
                if readiness.descriptor is None:  # then the loop may have no readers, either
                    await self._run_by_tasks(readiness, alarm)
                else:
                    await self._run_by_readers(readiness.descriptor, alarm.fileno())
            finally:
                if self._soon is not None:
                    self._soon.cancel()

    async def _run_by_readers(self, readiness: int, alarm: int) -> None:
        self._context.run(self._loop.add_reader, readiness, self._wake)
        self._context.run(self._loop.add_reader, alarm, self._on_alarm)
        try:
            await anyio.sleep_forever()
        finally:
            self._loop.remove_reader(readiness)
            self._loop.remove_reader(alarm)

    async def _run_by_tasks(self, readiness: Readiness, alarm: Alarm) -> None:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(self._follow_alarm, alarm)
            while True:
                await readiness.wait()
                self._wake()

    def _on_soon(self) -> None:
        self._soon = None
        self._turn()


class TaskWaker(_Alarmed):
    """Wakes by tasks."""

    def __init__(self, turn: Callable[[], None]) -> None:
        super().__init__(turn)
        self._put_off = anyio.Event()

    @property
    def _is_coming(self) -> bool:
        return self._put_off.is_set()

    def soon(self) -> None:
        self._put_off.set()

    async def run(self, readiness: Readiness) -> None:
        with self._with_alarm() as alarm:
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(self._follow_alarm, alarm)
                tasks.start_soon(self._follow_what_is_put_off)
                while True:
                    await readiness.wait()
                    self._wake()

    async def _follow_what_is_put_off(self) -> None:
        while True:
            self._put_off = anyio.Event()
            self._turn()
            await self._put_off.wait()


def open_waker(turn: Callable[[], None]) -> Waker:
    """The one for the async library that is running."""
    # Where trio is a guest of an asyncio loop both run in this thread, and our tasks are trio's.
    return TaskWaker(turn) if running_backend() == "trio" else AsyncioWaker(turn)
