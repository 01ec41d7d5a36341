"""The one loop that runs everything that has a socket.

In each turn the engine calls the watchers of what is ready, then deferred calls, then the timers that are due.
Between turns the host's own loop runs; `relay.loop.waker` has it call the next one.

A timer is due only once everything that was ready at its moment was delivered. So a process that stood still for a
while (stopped by a debugger, in a paused container, held up by a callback) first takes what arrived meanwhile, in as
many deliveries as that needs, and only then looks at its limits. What becomes ready later does not count, so a flood
does not delay a timer.

Watchers, timers and deferred calls are plain synchronous callbacks, so a flow needs no task of its own. Work that must
be awaited (a name's resolution) goes to `spawn`. A callback that raises ends only itself: `on_fault` gives the fault to
its owner, and the loop goes on.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any, Protocol, TypeVar, cast

import anyio
from anyio.abc import TaskGroup

from relay.clock import NatClock, real_s
from relay.loop.forks import close_in_children, held
from relay.loop.nat_time import NatTime
from relay.loop.readiness import Pollable, Readiness, open_readiness
from relay.loop.spin import Spin
from relay.loop.timers import Timer, Timers
from relay.loop.waker import open_waker

BUFFER_BYTES = 256 * 1024  # larger ones move no more on loopback, and leave the L2 cache

_LATE_S = 0.02  # later than that a timer does not run, unless the host's loop has stood still
_LOOKS = 4  # rounds of that loop, in as much time again, before timers so late do run
_TURN_S = 2e-3  # of work that was put off, a bulk flow's for the most part, before the host's other tasks go on


class _Closable(Protocol):
    def close(self) -> None: ...


_Shared = TypeVar("_Shared", bound=_Closable)


class Engine:
    """Readiness, timers and deferred calls of one relay, on whichever async library runs it."""

    def __init__(self, tasks: TaskGroup, on_fault: Callable[[Exception], None], clock: NatClock | None = None) -> None:
        self.buffer = memoryview(bytearray(BUFFER_BYTES))
        """Where every pump reads into; its content is valid within one callback only."""
        self._shared: dict[type[_Closable], _Closable] = {}
        self._tasks = tasks
        self._waker = open_waker(self._turn)
        self._readiness = open_readiness(tasks, on_fault)
        self.rearm_read = self._readiness.rearm_read
        self.rearm_write = self._readiness.rearm_write
        self.watch = self._readiness.watch
        self.unwatch = self._readiness.unwatch
        self.unwatch_and_close = self._readiness.unwatch_and_close
        self.unwatched: set[Pollable] = set()
        """Sockets that are opened and have no watcher yet."""
        self._sockets = _Sockets(self._readiness, self.unwatched)
        close_in_children(self._sockets)
        self._timers = Timers()
        self._timers_from_s = 0.0
        self._looks = 0
        self._max_events = self._readiness.max_events
        self._pass_began_s = 0.0
        self._delivered_in_pass = 0  # events since then, in deliveries that were full
        self.spin = Spin()
        """Whether it looks again at once; a pump with bulk asks for a nap."""
        self._deferred: deque[Callable[[], None]] = deque()
        self._in_turn = False
        self.on_fault = on_fault
        self.nat = NatTime(clock or NatClock(), self, on_fault)
        """The NAT's clock, and the timers that go by it."""

    now_s = staticmethod(real_s)
    """Now, in seconds on the real clock, which `call_later` goes by as well."""

    def shared(self, kind: type[_Shared]) -> _Shared:
        """The one object of this class that everything on the engine shares; the engine closes it at its own end."""
        if (found := self._shared.get(kind)) is None:
            found = self._shared[kind] = kind()
        return cast("_Shared", found)

    def call_later(self, delay_s: float, callback: Callable[[], None]) -> Timer:
        """Call `callback` in `delay_s` seconds, unless the timer is cancelled."""
        timer = self._timers.add(real_s() + delay_s, callback)
        if not self._in_turn:
            self._await_timer()
        return timer

    def call_soon(self, callback: Callable[[], None]) -> None:
        """Call `callback` after what is ready now has had its turn."""
        self._deferred.append(callback)
        if not self._in_turn:
            self._waker.soon()

    @contextmanager
    def limited(self, at_most_s: float) -> Iterator[None]:
        """Cancel the block, of a task, after `at_most_s` seconds of the real clock, which no test's clock replaces."""
        with anyio.CancelScope() as scope:
            timer = self.call_later(at_most_s, scope.cancel)
            try:
                yield
            finally:
                timer.cancel()

    def spawn(self, function: Callable[..., Awaitable[Any]], *args: object) -> None:
        """Run an async function beside the loop."""
        self._tasks.start_soon(self._run_spawned, function, args)

    def watch_readable(self, sock: Pollable, callback: Callable[[], None]) -> Callable[[], None]:
        """Call `callback` whenever `sock` has become readable; returns what ends that."""
        watcher = _ReadWatcher(self, sock, callback)
        self.watch(watcher)
        return lambda: self.unwatch(watcher)

    @property
    def has_descriptor(self) -> bool:
        """Whether the kernel itself keeps what is ready; else tasks report it, which need turns of the host's loop."""
        return self._readiness.descriptor is not None

    def work(self, until_s: float, wait_s: float = 0, first: Callable[[], None] | None = None) -> bool:
        """Do what is ready and what was put off until there is nothing more, or until this moment of the real clock.

        Return whether there was anything. It may wait up to `wait_s` seconds for something. `first` is called before,
        and does not count.

        Raises:
            RuntimeError: it was called by a callback of this engine.
        """
        if self._in_turn:
            raise RuntimeError("a callback of the relay's cannot advance its clock")
        self._in_turn = True
        try:
            if first is not None:
                self._call(first)
            worked = bool(self._deferred)
            found = self._step(wait_s)
            worked |= found
            while (found or self._deferred) and real_s() < until_s:
                found, worked = self._step(), True
        finally:
            self._in_turn = False
        if self._deferred:
            self._waker.soon()
        self._await_timer()
        return worked

    async def run(self) -> None:
        """Serve until cancelled."""
        await self._waker.run(self._readiness)

    def close(self) -> None:
        """Close every socket that is still open, and drop every pending call: those calls hold this engine."""
        self._readiness.close()
        with held:
            for sock in self.unwatched:
                sock.close()
        self._timers.clear()
        self._deferred.clear()
        for each in self._shared.values():
            each.close()

    def _turn(self) -> None:
        self._in_turn = True
        found = self._step()
        if self._deferred:
            until_s = real_s() + _TURN_S
            while self._deferred and real_s() < until_s:
                self._step()
        elif found and self._readiness.descriptor is not None:
            self.spin.run(self._step)
        self._in_turn = False
        if self._deferred:
            self._waker.soon()
        self._await_timer()

    def _step(self, wait_s: float = 0) -> bool:
        """Do the work that is there, or that comes within `wait_s` seconds; return whether there was any."""
        began_s = self._pass_began_s if self._delivered_in_pass else real_s()
        found = self._readiness.deliver(wait_s)
        for _ in range(len(self._deferred)):
            self._call(self._deferred.popleft())
        if found >= self._max_events and self._delivered_in_pass + found < self._readiness.most_ready:
            self._pass_began_s = began_s
            self._delivered_in_pass += found
            return True
        self._delivered_in_pass = 0
        due_s = self._timers.next_due_s
        if due_s is not None and due_s <= began_s:
            self._run_timers(due_s, began_s)
        return found > 0

    def _run_timers(self, due_s: float, until_s: float) -> None:
        """Run the timers that are due until a moment, the first of them at `due_s`; what was ready then was delivered.

        Without a descriptor that may be untrue: tasks deliver it, and after the host's loop has stood still it must
        go round a few times before they do.
        """
        if until_s < self._timers_from_s:
            return
        if self._readiness.descriptor is None and due_s < until_s - _LATE_S and self._looks < _LOOKS:
            self._looks += 1
            self._timers_from_s = until_s + _LATE_S / _LOOKS
            return
        self._looks = 0
        for callback in self._timers.due(until_s):
            self._call(callback)

    def _await_timer(self) -> None:
        due_s = self._timers.next_due_s
        if due_s is not None and (at_s := max(due_s, self._timers_from_s)) < self._waker.due_s:
            self._waker.at(at_s)

    async def _run_spawned(self, function: Callable[..., Awaitable[Any]], args: tuple[object, ...]) -> None:
        try:
            await function(*args)
        except Exception as fault:
            self.on_fault(fault)

    def _call(self, callback: Callable[[], None]) -> None:
        try:
            callback()
        except Exception as fault:
            self.on_fault(fault)


class _Sockets:
    """All sockets that an engine has open. A forked child closes them, without the epoll, which it shares."""

    def __init__(self, readiness: Readiness, unwatched: set[Pollable]) -> None:
        self._readiness = readiness
        self._unwatched = unwatched

    def close(self) -> None:
        for sock in [*self._unwatched, *(watcher.sock for watcher in self._readiness.watched())]:
            with suppress(OSError):  # the others are closed all the same
                sock.close()


class _ReadWatcher:
    """Adapts a plain callback to a watcher, and asks for the next edge itself."""

    def __init__(self, engine: Engine, sock: Pollable, callback: Callable[[], None]) -> None:
        self.sock = sock
        self._engine = engine
        self._callback = callback

    def on_ready(self, readable: bool, writable: bool, ended: bool) -> None:
        if readable:
            self._callback()
            self._engine.rearm_read(self)
