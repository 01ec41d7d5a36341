"""A relay in the asyncio or trio program that opens it.

    async with open_relay("vmware-fusion", tos_reset={"mask": 0xFC}) as nat:
        host, port = nat.forward("127.0.0.1", 22)
        await nat.wait_for(EventType.FLOW_ENDED, because="tos-reset")

It keeps every record of its event log, for tests; a program that serves for days takes `relay.server.open_relay`.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from typing import TYPE_CHECKING, Any, TypeVar

import anyio

from relay import defaults
from relay.behaviours import Behaviour
from relay.config import check_advance
from relay.config.options import configured_by, worded_for_python
from relay.control import Advance, Command, KeepaliveCredit
from relay.deprecation import warn_of_former_name
from relay.handles._api import ASKED_S, HELD_BACK_S, RelayHandle
from relay.log import EventLog, EventType, Record
from relay.log.memory import Records, as_text
from relay.log.vocabulary import current_causes, current_event
from relay.profiles import Profile
from relay.server import Relay
from relay.server import open_relay as _open_relay

__tracebackhide__ = True  # for pytest: what a test did wrong is in the test's own lines
ResultT = TypeVar("ResultT")
_FORMER = {"resolve_as": "resolve", "adjust": "set"}


class AsyncRelay(RelayHandle):
    """A relay that serves in the caller's own event loop. Its calls are for that loop's thread; those that wait are
    awaited.

    When it has stopped, what happened can still be read; anything else is a RuntimeError that says so.
    """

    def __init__(self, relay: Relay, records: Records) -> None:
        super().__init__(relay, records)
        self._waiting: set[anyio.Event] = set()
        relay.log.subscribe(self._wake)

    async def wait_for(
        self, event: EventType | str, *, timeout_s: float = 5.0, flow: int | None = None, **fields: Any
    ) -> Record:
        event, fields = current_event(event, stacklevel=2), dict(current_causes(fields, stacklevel=2))
        self._records.check(event, fields)
        self._check_wanted(fields, event)
        found = await self._first(lambda: self._records.find(event, fields, flow=flow), timeout_s)
        if found is None:
            raise self._records.missed(event, fields, flow=flow, timeout_s=timeout_s)
        return found

    async def assert_used(self) -> None:
        if await self._first(lambda: self._records.find(EventType.FLOW_OPENED, {}), ASKED_S) is None:
            raise self._unused()

    async def log_text(self, since: int = 0) -> str:
        await self.await_records()
        return as_text(self.events[since:])

    def do(self, command: Command[ResultT]) -> ResultT:
        self._records.demand_more()
        return self._relay.do(command)

    async def advance(self, seconds: float, *, keepalive: KeepaliveCredit = "credit") -> list[Record]:
        self._records.demand_more()
        check_advance(seconds, keepalive)
        return await self._relay.carry_out(Advance(seconds, keepalive))

    async def expire(self, *, keepalive: KeepaliveCredit = "credit") -> list[Record]:
        return await self.advance(self._past_idle_limit_s(), keepalive=keepalive)

    async def drain(self, at_most_s: float) -> None:
        self._records.demand_more()
        await self._relay.drain(at_most_s)

    async def await_records(self) -> None:
        await self._first(lambda: None if self._relay.holds_records else True, HELD_BACK_S)

    def _in_loop(self, function: Callable[[], ResultT]) -> ResultT:
        return function()

    async def _first(self, find: Callable[[], ResultT | None], timeout_s: float) -> ResultT | None:
        """What `find` gives, once it gives anything; it is asked again whenever something has happened."""
        found = find()
        if found is None and not self._records.is_complete:
            with self._relay.limited(timeout_s):
                while (found := find()) is None and not self._records.is_complete:
                    await self._anything()
        return found

    async def _anything(self) -> None:
        changed = anyio.Event()
        self._waiting.add(changed)
        try:
            await changed.wait()
        finally:
            self._waiting.discard(changed)

    def _wake(self, _: Record) -> None:
        for changed in self._waiting:
            changed.set()

    if not TYPE_CHECKING:

        def __getattr__(self, name):
            if name not in _FORMER:
                raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")
            warn_of_former_name(name, _FORMER[name], stacklevel=2)
            return getattr(self._relay, name)


@asynccontextmanager
async def open_relay(
    profile: str | Profile = defaults.PROFILE,
    *,
    listen: str | None = "127.0.0.1:0",
    behaviours: Iterable[Behaviour | type[Behaviour]] = (),
    forwards: Iterable[str] = (),
    inbound: Iterable[str] = (),
    auth: str | None = None,
    allow_open: bool = False,
    observer: str | None = None,
    strict: bool = False,
    resolve: Iterable[str] = (),
    source: str | None = None,
    handshake_timeout_s: float = 10.0,
    connect_timeout_s: float = 30.0,
    idle_timeout_s: float | None = None,
    drain_timeout_s: float = 5.0,
    max_flows: int | None = None,
    time_scale: float = 1.0,
    clock: str = "running",
    seed: int | None = None,
    **settings: Mapping[str, object],
) -> AsyncIterator[AsyncRelay]:
    """Serve for as long as the block lasts, inside the asyncio or trio program that enters it.

    Leaving the block resets what is left of the flows; `AsyncRelay.drain` lets them end first.

    Args:
        profile: a profile's name, a TOML file's path, or a loaded profile.
        listen: the proxy's HOST:PORT; port 0 picks one, None is no proxy.
        behaviours: behaviours of one's own, `[KillAfter(0.2)]`, beside the profile's or in place of one by its name.
        forwards: port forwards, `[BIND:]PORT:HOST:PORT`; port 0 picks one.
        inbound: likewise, to servers of the guest's: what is dialled is then the app under test.
        auth: USER:PASS that the proxy demands of every client.
        allow_open: serve every client, also beyond loopback.
        observer: the provider of abilities to use (`relay doctor` lists them), or `none`.
        strict: do not start if this host cannot show one of the profile's quirks.
        resolve: names to answer ourselves, `NAME:PORT:ADDRESS`.
        source: the address to dial from.
        handshake_timeout_s: how long a client has to say what it wants, in seconds.
        connect_timeout_s: how long a destination has to answer, in seconds.
        idle_timeout_s: reset flows that carry no bytes for this long, in seconds of the NAT's clock; None: never.
        drain_timeout_s: how long flows have to end by themselves when the relay drains, in seconds.
        max_flows: how many flows may be open at once; None: as many as there are descriptors.
        time_scale: how many times as fast as the real clock the NAT's runs.
        clock: `running`, or `manual`: then the NAT's moves by `advance` alone.
        seed: what is left to chance follows from it; None picks one.
        settings: of a behaviour, by its name: `tos_reset={"mask": 0xFC}`; `{}` adds it with its defaults, and
            `{"enabled": False}` takes it out.

    Raises:
        ConfigError: an option or a setting is wrong, or an address cannot be listened on.
        Unsupported: this host lacks what was asked for.
    """
    config = configured_by(locals())
    log, records = EventLog(), Records()
    log.subscribe(records)
    async with AsyncExitStack() as stack:
        with worded_for_python():
            relay = await stack.enter_async_context(_open_relay(config, log))
        try:
            yield AsyncRelay(relay, records)
        finally:  # before `relay-stopped`, which wakes those who wait
            records.complete("the relay has stopped: its `async with` block is over")
