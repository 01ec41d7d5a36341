"""A relay for code that has no event loop: tests, scripts, a REPL.

    with serve_in_thread("vmware-fusion", tos_reset={"mask": 0xFC}) as nat:
        requests.get(url, proxies={"http": nat.socks_url})
        nat.wait_for(EventType.FLOW_ENDED, because="tos-reset")

The relay runs in a thread and an event loop of its own; everything offered here may be called from any other thread.
With pytest, the fixture `nat_relay` gives the same object.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from typing import Any, TypeVar, cast

from relay import defaults
from relay.backend import choose_backend, running_backend
from relay.behaviours import Behaviour
from relay.clock import real_s
from relay.config import RelayConfig, check_advance
from relay.config.options import configured_by, worded_for_python
from relay.control import Advance, Command, KeepaliveCredit
from relay.errors import ConfigError
from relay.handles._api import ASKED_S, HELD_BACK_S, RelayHandle
from relay.handles.portal import Portal, open_portal
from relay.log import EventLog, EventType, Record
from relay.log.memory import Records, as_text
from relay.log.vocabulary import current_causes, current_event
from relay.profiles import Profile
from relay.server import Relay, open_relay

__tracebackhide__ = True  # for pytest: what a test did wrong is in the test's own lines
ResultT = TypeVar("ResultT")
_WORKER, _WORKER_ENDS_S = "AnyIO worker thread", 0.5
_IN_A_THREAD = {
    "asyncio": "await asyncio.to_thread(nat.{call}, ...)",
    "trio": "await trio.to_thread.run_sync(lambda: nat.{call}(...))",
}


class RunningRelay(RelayHandle):
    """A relay that serves in another thread. Its calls that wait block the thread that makes them.

    When it has stopped, what happened can still be read; anything else is a RuntimeError that says so.
    """

    def __init__(self, portal: Portal, relay: Relay, records: Records) -> None:
        super().__init__(relay, records)
        self._running = portal

    @property
    def _portal(self) -> Portal:
        self._records.demand_more()
        return self._running

    def wait_for(
        self, event: EventType | str, *, timeout_s: float = 5.0, flow: int | None = None, **fields: Any
    ) -> Record:
        event, fields = current_event(event, stacklevel=2), dict(current_causes(fields, stacklevel=2))
        self._records.check(event, fields)
        self._check_wanted(fields, event)
        if timeout_s > 0:
            _refuse_in_event_loop("wait_for")
        return self._records.wait_for(event, fields, flow=flow, timeout_s=timeout_s)

    def assert_used(self) -> None:
        _refuse_in_event_loop("assert_used")
        try:
            self._records.wait_for(EventType.FLOW_OPENED, {}, timeout_s=ASKED_S)
        except AssertionError:
            raise self._unused() from None

    def log_text(self, since: int = 0) -> str:
        self.await_records()
        return as_text(self.events[since:])

    def await_records(self) -> None:
        deadline_s = real_s() + HELD_BACK_S
        while self._relay.holds_records and real_s() < deadline_s:
            time.sleep(0.002)  # the end of a look-up cannot be waited on

    def do(self, command: Command[ResultT]) -> ResultT:
        return cast("ResultT", self._portal.call(self._relay.carry_out, command))

    def advance(self, seconds: float, *, keepalive: KeepaliveCredit = "credit") -> list[Record]:
        check_advance(seconds, keepalive)  # here, and not in the relay's thread, whose frames a test would show
        return self.do(Advance(seconds, keepalive))

    def expire(self, *, keepalive: KeepaliveCredit = "credit") -> list[Record]:
        return self.advance(self._past_idle_limit_s(), keepalive=keepalive)

    def _in_loop(self, function: Callable[[], ResultT]) -> ResultT:
        return self._portal.call(function)

    def drain(self, at_most_s: float) -> None:
        self._portal.call(self._relay.drain, at_most_s)


def _refuse_in_event_loop(call: str) -> None:
    """Insist that the calling thread may be blocked.

    Raises:
        ConfigError: it runs an event loop.
    """
    try:
        backend = running_backend()
    except RuntimeError:
        return
    instead = _IN_A_THREAD.get(backend, _IN_A_THREAD["asyncio"]).format(call=call)
    raise ConfigError(f"{call}: it would block the event loop of {backend} that runs in this thread", hint=instead)


@contextmanager
def serve_in_thread(
    profile: str | Profile = defaults.PROFILE,
    *,
    backend: str = "asyncio",
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
) -> Iterator[RunningRelay]:
    """Serve for as long as the block lasts, in a thread of its own.

    Args:
        profile: a profile's name, a TOML file's path, or a loaded profile.
        backend: the async library that the relay runs on: asyncio, trio or uvloop.
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
    with run_in_thread(config, backend, over="the relay has stopped: its `with` block is over") as nat:
        yield nat


@contextmanager
def run_in_thread(config: RelayConfig, backend: str, *, over: str) -> Iterator[RunningRelay]:
    """The same for a configuration; `over` is what to say to those who use the relay when it has stopped."""
    library, library_options = choose_backend(backend)
    log, records = EventLog(), Records()
    log.subscribe(records)
    try:
        with open_portal(library, library_options) as portal:
            try:
                with ExitStack() as stack:
                    with worded_for_python():
                        relay = stack.enter_context(portal.enter(open_relay(config, log)))
                    yield RunningRelay(portal, relay, records)
            finally:
                records.complete(over)
    finally:
        _join_workers()


def _join_workers() -> None:
    """Wait for the worker threads of event loops that are over: on asyncio, anyio tells them to end, and goes on.

    On trio they are trio's own, which keeps them for ten seconds and uses them again.
    """
    for thread in threading.enumerate():
        loop = getattr(thread, "loop", None)
        if thread.name == _WORKER and loop is not None and loop.is_closed():
            thread.join(_WORKER_ENDS_S)
