"""A relay for code that has no event loop: tests, scripts, a REPL.

    with serve_in_thread("vmware-fusion", settings={"tos_reset": {"mask": 0xFC}}) as nat:
        requests.get(url, proxies={"http": nat.socks_url})
        nat.wait_for(EventType.FLOW_ENDED, because="tos-reset")

The relay runs in a thread and an event loop of its own; everything offered here may be called from any other thread.
With pytest, the fixture `nat_relay` gives the same object.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, TypeVar, Unpack
from urllib.parse import quote

from anyio.from_thread import BlockingPortal, start_blocking_portal

from relay.address import Endpoint, ForwardSpec, ResolveOverride, parse_resolve
from relay.backend import choose_backend
from relay.clock import real_s
from relay.config import DEFAULT_PROFILE, RelayConfig
from relay.config.options import RelayOptions, configured, worded_for_python
from relay.control import (
    Adjust,
    Advance,
    Command,
    Freeze,
    LinkDown,
    OpenForward,
    ResolveAs,
    SetSeed,
    SetTimeScale,
    Thaw,
)
from relay.errors import ConfigError
from relay.events import Side, SideName
from relay.fidelity import QuirkFidelity
from relay.log import EventLog, EventType, Record
from relay.log.memory import FlowStory, Records, as_text
from relay.profiles import Profile
from relay.server import Relay, open_relay

__all__ = [
    "Endpoint",
    "EventType",
    "FlowStory",
    "Record",
    "RelayOptions",
    "RunningRelay",
    "SideName",
    "serve_in_thread",
]

__tracebackhide__ = True  # for pytest: what a test did wrong is in the test's own lines
ResultT = TypeVar("ResultT")
_WORKER, _WORKER_ENDS_S = "AnyIO worker thread", 0.5
_HELD_BACK_S = 0.25  # finding out whose flow it is takes milliseconds
_ASKED_S = 1.0  # how long a client may already be done before its flow is on record


class RunningRelay:
    """A relay that serves in another thread.

    When it has stopped, what happened can still be read; anything else is a RuntimeError that says so.
    """

    def __init__(self, portal: BlockingPortal, relay: Relay, records: Records) -> None:
        self._running = portal
        self._relay = relay
        self._records = records

    @property
    def _portal(self) -> BlockingPortal:
        self._records.demand_more()
        return self._running

    # Where it is

    @property
    def address(self) -> Endpoint:
        """Where the proxy listens."""
        self._records.demand_more()
        if self._relay.address is None:
            raise ConfigError("listen=None: this relay has no proxy", hint="connect to what its forward() returns")
        return self._relay.address

    @property
    def forward_addresses(self) -> list[Endpoint]:
        """Where each forward listens, in the order they were opened."""
        return list(self._relay.forward_addresses)

    @property
    def inbound_addresses(self) -> list[Endpoint]:
        """Where each inbound forward listens, in the order they were opened."""
        return list(self._relay.inbound_addresses)

    @property
    def socks_url(self) -> str:
        """The proxy's URL for a client that speaks SOCKS5, and leaves the resolution of names to the relay."""
        return self.url("socks5h")

    @property
    def http_url(self) -> str:
        """The proxy's URL for a client that speaks HTTP: CONNECT, or plain `http://` requests."""
        return self.url("http")

    def url(self, scheme: str) -> str:
        """The proxy's URL under a scheme of the client's liking, with the credentials if it wants any."""
        auth = self._relay.config.auth
        userinfo = f"{quote(auth.username, safe='')}:{quote(auth.password, safe='')}@" if auth is not None else ""
        return f"{scheme}://{userinfo}{self.address}"

    @property
    def env(self) -> dict[str, str]:
        """This process's environment, with every proxy variable pointing here and none that makes exceptions."""
        kept = {name: value for name, value in os.environ.items() if not name.lower().endswith("_proxy")}
        urls = {"all_proxy": self.socks_url, "http_proxy": self.http_url, "https_proxy": self.http_url}
        return kept | urls | {name.upper(): url for name, url in urls.items()}

    @property
    def profile(self) -> Profile:
        """What flows are made with from now on: the profile it was started with, and what `set` made of it."""
        return self._relay.profile

    @property
    def fidelity(self) -> list[QuirkFidelity]:
        """How well this host shows each quirk of the profile that it was started with."""
        return list(self._relay.fidelity)

    # What happens

    @property
    def events(self) -> list[Record]:
        """Everything that has happened so far."""
        return self._records.snapshot()

    @property
    def flows(self) -> list[FlowStory]:
        """Every flow so far, by number."""
        return self._records.flows()

    @property
    def flow_count(self) -> int:
        """How many flows are open now."""
        return self._relay.flow_count

    def wait_for(
        self, event: EventType | str, *, timeout_s: float = 5.0, flow: int | None = None, **fields: Any
    ) -> Record:
        """The first record of this event (of this flow) whose fields have these values, once there is one.

        A `side` may be a `Side` or any of its names.

        It blocks its thread. In an async test whose own tasks have to go on meanwhile, call it in a thread:
        `await asyncio.to_thread(nat.wait_for, ...)`, or `trio.to_thread.run_sync`.

        Raises:
            ConfigError: there is no such event, or it has no such field, or there is no such side.
            AssertionError: there was none in time; the message lists what did happen.
        """
        return self._records.wait_for(event, fields, flow=flow, timeout_s=timeout_s)

    def assert_used(self) -> None:
        """Insist that some connection was asked for through the relay.

        Go programs and browsers skip a proxy for loopback addresses without a word, however they are told of it: their
        origin needs a name (`resolve`), or they are given a forward.

        Raises:
            AssertionError: none was; the message says what the usual reasons are.
        """
        try:
            self._records.wait_for(EventType.FLOW_OPENED, {}, timeout_s=_ASKED_S)
        except AssertionError:
            raise AssertionError(
                f"nothing was asked of the relay at {self._relay.address}; what happened:\n{as_text(self.events)}\n"
                "Go programs, browsers and many others skip a proxy for loopback addresses without a word: give the "
                "origin a name with nat.resolve(), or use nat.forward()"
            ) from None

    def log_text(self, since: int = 0) -> str:
        """What happened, for people, one line per record; the first `since` records are left out."""
        self.await_records()
        return as_text(self.events[since:])

    def await_records(self) -> None:
        """Wait for records that are held back until their flow's process is known, for 0.25 s at most."""
        deadline_s = real_s() + _HELD_BACK_S
        while self._relay.holds_records and real_s() < deadline_s:
            time.sleep(0.002)  # the end of a look-up cannot be waited on

    # Commands to it

    def do(self, command: Command[ResultT]) -> ResultT:
        """Carry out a command of `relay.control`, and return what it gives.

        Raises:
            ConfigError: it cannot be carried out as it is, and nothing was changed.
            RuntimeError: the relay has stopped.
        """
        return self._portal.call(self._relay.do, command)

    def forward(self, host: str, port: int) -> Endpoint:
        """Open a port forward to HOST:PORT and return where it listens, as a (host, port) pair."""
        return self._forward(host, port, Side.INTERNAL)

    def forward_inbound(self, host: str, port: int) -> Endpoint:
        """Likewise, to a server of the guest's: what is dialled is then the app under test."""
        return self._forward(host, port, Side.EXTERNAL)

    def _forward(self, host: str, port: int, initiator: Side) -> Endpoint:
        spec = ForwardSpec(Endpoint("127.0.0.1", 0), Endpoint(host, port))
        return self.do(OpenForward(spec, initiator))

    def resolve(self, name: str, port: int, address: str) -> None:
        """Answer `name` with `address` from now on, when it is asked for with `port`."""
        literal = f"[{address}]" if ":" in address else address
        override: ResolveOverride = parse_resolve(f"{name}:{port}:{literal}", where="resolve")
        self.do(ResolveAs(override))

    def freeze(self, side: Side | SideName) -> None:
        """Neither read nor write this side of any flow, until it is thawed.

        A frozen external side looks dead: on Linux with CAP_NET_ADMIN even its kernel does not answer any more.

        Raises:
            ConfigError: there is no such side.
        """
        self.do(Freeze(side))

    def thaw(self, side: Side | SideName) -> None:
        """Go on where `freeze` stopped."""
        self.do(Thaw(side))

    def link_down(self) -> None:
        """Tell every flow that the host's network link went down."""
        self.do(LinkDown())

    def advance(self, seconds: float) -> None:
        """Have so many seconds pass on the NAT's clock at once.

        Behaviours' timers and idle limits that are due by then have fired when this returns, each at its own moment and
        in order. The app and the server have another clock; so have the limits on a handshake and on a connect.

        Raises:
            ConfigError: it is no number of seconds.
        """
        self.do(Advance(seconds))
        self.await_records()

    def set(self, **behaviours: Mapping[str, object]) -> None:
        """Change settings for flows that are opened from now on: `nat.set(tos_reset={"mask": 0xFC})`.

        Raises:
            ConfigError: a setting is wrong; none was changed.
        """
        self._records.demand_more()
        with worded_for_python(behaviours) as settings:
            self.do(Adjust(tuple(settings)))

    @property
    def time_scale(self) -> float:
        """How many times as fast as the real clock the NAT's runs: with 100, a timeout of 300 s takes 3."""
        return self._relay.time_scale

    @time_scale.setter
    def time_scale(self, value: float) -> None:
        self.do(SetTimeScale(value))

    @property
    def seed(self) -> int:
        """What everything left to chance follows from; set anew, it holds for the flows to come, the next the first."""
        return self._relay.seed

    @seed.setter
    def seed(self, value: int) -> None:
        self.do(SetSeed(value))


@contextmanager
def serve_in_thread(
    profile: str | Profile = DEFAULT_PROFILE,
    *,
    backend: str = "asyncio",
    listen: str | None = "127.0.0.1:0",
    **options: Unpack[RelayOptions],
) -> Iterator[RunningRelay]:
    """Serve for as long as the block lasts.

    `profile` is a name, a TOML file's path or a loaded profile, `backend` the async library that the relay runs on
    (asyncio, trio or uvloop), `listen` the proxy's HOST:PORT (None: no proxy); for the rest see `RelayOptions`.

    Raises:
        ConfigError: an option or a setting is wrong.
        Unsupported: this host lacks what was asked for.
    """
    config = configured(profile, listen, options)
    with run_in_thread(config, backend, over="the relay has stopped: its `with` block is over") as nat:
        yield nat


@contextmanager
def run_in_thread(config: RelayConfig, backend: str, *, over: str) -> Iterator[RunningRelay]:
    """The same for a configuration; `over` is what to say to those who use the relay when it has stopped."""
    library, library_options = choose_backend(backend)
    log, records = EventLog(), Records()
    log.subscribe(records)
    try:
        with start_blocking_portal(library, library_options) as portal:
            try:
                with portal.wrap_async_context_manager(open_relay(config, log)) as relay:
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
