"""Readiness without epoll and kqueue: a short-lived task for each edge that is waited for."""

from __future__ import annotations

import sys
from collections.abc import Awaitable, Callable

import anyio
from anyio.abc import TaskGroup

from relay.loop.forks import held
from relay.loop.readiness._api import Pollable, Watcher


class TaskReadiness:
    """A short-lived task for each edge that is waited for."""

    descriptor: int | None = None
    max_events = sys.maxsize
    most_ready = 0

    def __init__(self, tasks: TaskGroup, on_fault: Callable[[Exception], None]) -> None:
        self._tasks = tasks
        self._on_fault = on_fault
        self._scopes: dict[Watcher, set[anyio.CancelScope]] = {}
        self._waiting: set[tuple[Watcher, bool]] = set()
        self._ready: list[tuple[Watcher, bool]] = []
        self._wake = anyio.Event()

    def watch(self, watcher: Watcher) -> None:
        self._scopes[watcher] = set()
        self.rearm_read(watcher)

    def unwatch(self, watcher: Watcher) -> None:
        for scope in self._scopes.pop(watcher, ()):
            scope.cancel()
        anyio.notify_closing(watcher.sock)

    def unwatch_and_close(self, watcher: Watcher) -> None:
        with held:
            self.unwatch(watcher)
            watcher.sock.close()

    def watched(self) -> list[Watcher]:
        return list(self._scopes)

    def rearm_read(self, watcher: Watcher) -> None:
        self._arm(watcher, anyio.wait_readable, False)

    def rearm_write(self, watcher: Watcher) -> None:
        self._arm(watcher, anyio.wait_writable, True)

    async def wait(self) -> None:
        await self._wake.wait()

    def deliver(self, wait_s: float = 0) -> int:
        ready, self._ready = self._ready, []
        if self._wake.is_set():
            self._wake = anyio.Event()
        for watcher, for_writing in ready:
            if watcher in self._scopes:
                try:
                    watcher.on_ready(not for_writing, for_writing, False)
                except Exception as fault:
                    self._on_fault(fault)
        return len(ready)

    def close(self) -> None:
        for watcher in self.watched():
            self.unwatch_and_close(watcher)

    def _arm(self, watcher: Watcher, wait: Callable[[Pollable], Awaitable[None]], for_writing: bool) -> None:
        if watcher in self._scopes and (watcher, for_writing) not in self._waiting:
            self._waiting.add((watcher, for_writing))
            self._tasks.start_soon(self._await_edge, watcher, wait, for_writing)

    async def _await_edge(
        self, watcher: Watcher, wait: Callable[[Pollable], Awaitable[None]], for_writing: bool
    ) -> None:
        scopes = self._scopes.get(watcher)
        if scopes is not None:
            with anyio.CancelScope() as scope:
                scopes.add(scope)
                try:
                    await wait(watcher.sock)
                except (anyio.ClosedResourceError, OSError, ValueError):
                    pass  # closed while the task waited: no watcher is left
                else:
                    self._ready.append((watcher, for_writing))
                    self._wake.set()
            scopes.discard(scope)
        self._waiting.discard((watcher, for_writing))
