"""A probe and its server in one event loop, with the relay that it measures, and a clock that jumps.

The NAT's time passes only when nothing else happens: when every task waits, for a peer that has nothing to say or for
the clock, the clock goes on to the next moment at which a task wakes or a timer of the relay's is due. A probe of hours
takes as long as its packets do. Patience is over when its real time is and all is quiet, before time passes. Other real
waits, for kernels' timers, hold the clock.
"""

from __future__ import annotations

import heapq
import itertools
from collections.abc import AsyncIterator, Iterable, Iterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from dataclasses import replace
from typing import Any

import anyio
import anyio.lowlevel

from relay.address import Endpoint
from relay.clock import real_s
from relay.control import Advance
from relay.handles import AsyncRelay, open_relay
from relay.probe import PROBES, Course, Findings, Plan, ProbeServer, open_probe_server, run_probes
from relay.probe.client.proxy import Proxy
from relay.probe.clock import ProbeClock
from relay.profiles import Profile
from support.probing_wire import DEVICE, wired

_SCALE = 0.01  # of the relay's clock, which stands still: by it keepalive times are divided, and fit the kernel
_QUIET_TURNS = 30
"""So many turns of the event loop without a wake: what was sent over loopback has been read, and answered."""
HOST = "127.0.0.1"


class JumpingClock(ProbeClock):
    """The NAT's clock, moved on by `run`, and the relay's with it."""

    def __init__(self, quiet_turns: int = _QUIET_TURNS) -> None:
        super().__init__()
        self._quiet_turns = quiet_turns
        self._now_s = 0.0
        self._order = itertools.count()
        self._sleepers: list[tuple[float, int, anyio.Event | anyio.CancelScope]] = []
        self._real_waits = 0
        self._patient_until_s: dict[object, float] = {}
        self._changed = anyio.Event()
        self.jumps = 0

    def now_s(self) -> float:
        return self._now_s

    def error_s(self) -> float:
        return 0.0  # no time passes while anything is on its way

    @asynccontextmanager
    async def beating(self) -> AsyncIterator[None]:
        yield

    async def sleep(self, seconds: float) -> None:
        if seconds <= 0:
            await anyio.lowlevel.checkpoint()
            return
        woken = anyio.Event()
        self._add(seconds, woken)
        await woken.wait()

    @contextmanager
    def limit(self, seconds: float) -> Iterator[anyio.CancelScope]:
        with anyio.CancelScope() as scope:
            entry = self._add(max(0.0, seconds), scope)
            try:
                yield scope
            finally:
                self._sleepers = [each for each in self._sleepers if each is not entry]
                heapq.heapify(self._sleepers)
                self._changed.set()

    @contextmanager
    def patience(self, seconds: float) -> Iterator[anyio.CancelScope]:
        with self.limit(0.0) as scope:
            self._patient_until_s[scope] = real_s() + seconds
            try:
                yield scope
            finally:
                del self._patient_until_s[scope]

    async def sleep_really(self, seconds: float) -> None:
        with self._real_wait():
            await anyio.sleep(seconds)

    @contextmanager
    def limit_really(self, seconds: float) -> Iterator[anyio.CancelScope]:
        with self._real_wait(), anyio.move_on_after(seconds) as scope:
            yield scope

    async def run(self, nat: AsyncRelay) -> None:
        """Move both clocks on, whenever nothing else happens."""
        while True:
            await self._until_quiet()
            due_s = self._sleepers[0][0]
            relays_s = next_nat_timer_s(nat)
            if relays_s is not None:
                due_s = min(due_s, self._now_s + max(0.0, relays_s))
            if due_s > self._now_s:
                nat._relay.do(Advance(due_s - self._now_s, "ignore"))  # waits for no look-up of processes
                self._now_s = due_s
            self.jumps += 1
            if patient_s := self._wake():
                self._changed = anyio.Event()
                with anyio.move_on_after(patient_s):
                    await self._changed.wait()

    def _wake(self) -> float:
        """Wake those that are due; if all of these are patient, return for how many real seconds."""
        woken, patient, really_s = 0, [], real_s()
        while self._sleepers and self._sleepers[0][0] <= self._now_s:
            due = heapq.heappop(self._sleepers)
            sleeper = due[2]
            if self._patient_until_s.get(sleeper, 0.0) > really_s:
                patient.append(due)
            elif isinstance(sleeper, anyio.Event):
                sleeper.set()
                woken += 1
            else:
                sleeper.cancel()
                woken += 1
        for due in patient:
            heapq.heappush(self._sleepers, due)
        until_s = min((self._patient_until_s[due[2]] for due in patient), default=really_s)
        return 0.0 if woken else until_s - really_s

    async def _until_quiet(self) -> None:
        turns = 0
        while turns < self._quiet_turns:
            if self._real_waits or not self._sleepers:
                turns = 0
                self._changed = anyio.Event()
                await self._changed.wait()
            before = len(self._sleepers)
            await anyio.lowlevel.checkpoint()
            turns = turns + 1 if len(self._sleepers) == before else 0

    def _add(self, seconds: float, sleeper: anyio.Event | anyio.CancelScope) -> object:
        entry = (self._now_s + seconds, next(self._order), sleeper)
        heapq.heappush(self._sleepers, entry)
        self._changed.set()
        return entry

    @contextmanager
    def _real_wait(self) -> Iterator[None]:
        self._real_waits += 1
        try:
            yield
        finally:
            self._real_waits -= 1
            self._changed.set()


def next_nat_timer_s(nat: AsyncRelay) -> float | None:
    """In how many of the NAT's seconds the relay's next timer on that clock is due."""
    engine = nat._relay._driver.engine
    due_s = engine.nat._timers.next_due_s
    return None if due_s is None else due_s - engine.nat.now_s()


@asynccontextmanager
async def probed(
    profile: str | Profile,
    mode: str,
    *,
    clock: ProbeClock,
    time_scale: float | None = None,
    **settings: Any,
) -> AsyncIterator[tuple[ProbeServer, AsyncRelay, Course]]:
    """A server, a relay before it, and the way through: `proxy`, `http`, `forward`, or a device of `make_devices`; or
    past it: `direct`.

    Without a `time_scale` the relay's clock stands still, and the probe's moves it on.
    """
    runs: dict[str, Any] = {"time_scale": time_scale} if time_scale else {"time_scale": _SCALE, "clock": "manual"}
    plan = Plan(patience_s=0.3, only_server=True, max_idle_s=12_000.0, max_life_s=1000.0, ages=11, ages_between=5)
    async with AsyncExitStack() as stack:
        theirs = clock if isinstance(clock, JumpingClock) else ProbeClock()  # a server's clock is never scaled
        server = await stack.enter_async_context(open_probe_server(Endpoint(HOST, 0), clock=theirs))
        if mode.startswith(DEVICE):
            nat, host = await stack.enter_async_context(wired(profile, mode, time_scale=runs["time_scale"], **settings))
            yield server, nat, Course(server=Endpoint(host, server.address.port), control=server.address, plan=plan)
            return
        nat = await stack.enter_async_context(open_relay(profile, seed=1, **runs, **settings))
        match mode:
            case "proxy" | "http":
                via = Proxy("socks5" if mode == "proxy" else "http", nat.address)
                course = Course(server=server.address, via=via, control=server.address, plan=plan)
            case "forward":
                through, other = nat.forward(*server.address), nat.forward(*server.other.address)
                course = Course(server=through, other=other, control=server.address, plan=plan)
            case _:
                course = Course(server=server.address, plan=plan)
        yield server, nat, course


async def found_through(
    profile: str | Profile,
    mode: str,
    only: Iterable[str] = (),
    *,
    real: float = 0.0,
    name: str = "",
    quiet_turns: int = _QUIET_TURNS,
    plan: Mapping[str, Any] | None = None,
    **settings: Any,
) -> Findings:
    """What the probes find, of which there may be some alone, in no time of the NAT's; or in time that passes, `real`
    times as fast as the real one.

    The server may be given by a `name`. Many connections at once take more turns than a few until all is quiet.
    """
    jumping, findings = JumpingClock(quiet_turns), Findings()
    clock = ProbeClock(real) if real else jumping
    scale = real or None
    async with (
        probed(profile, mode, clock=clock, time_scale=scale, **settings) as (_, nat, course),
        anyio.create_task_group() as tasks,
    ):
        if not real:
            tasks.start_soon(jumping.run, nat)
        server = course.server
        if name:
            server = Endpoint(name, course.server.port)
            nat.resolve(name, server.port, HOST)  # by no thread: the clock does not wait for one
        planned = replace(course, server=server, plan=replace(course.plan, **(plan or {})))
        probes = [probe for probe in PROBES if probe.name in tuple(only) or not only]
        await run_probes(planned, probes, findings, clock=clock)
        tasks.cancel_scope.cancel()
    return findings
