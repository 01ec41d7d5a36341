"""Commands to a relay that serves, and what can be read of it: one set of verbs for threads and event loops.

The verbs that wait are blocking calls of `RunningRelay` and awaitable ones of `AsyncRelay`; all others are plain calls
of both. Names, arguments and types are the same.
"""

from __future__ import annotations

import os
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, TypeVar
from urllib.parse import quote

from relay.abilities import Ability
from relay.address import Endpoint, ForwardSpec, check_endpoint, parse_resolve
from relay.behaviours import installed_behaviours
from relay.causes import Cause
from relay.config import RelayConfig
from relay.config.options import worded_for_python
from relay.control import (
    Adjust,
    Command,
    Freeze,
    KeepaliveCredit,
    LinkDown,
    OpenForward,
    ResolveAs,
    SetSeed,
    SetTimeScale,
    Thaw,
)
from relay.control_api import ControlServer, History, control_spec
from relay.errors import ConfigError
from relay.events import Side, SideName
from relay.fidelity import QuirkFidelity
from relay.log import EventLog, EventType, Record
from relay.log.memory import FlowStory, Records, as_text, nearest
from relay.profiles import Profile
from relay.server import Relay

__tracebackhide__ = True  # for pytest: what a test did wrong is in the test's own lines
ResultT = TypeVar("ResultT")
HELD_BACK_S = 0.25  # finding out whose flow it is takes milliseconds
_JUST_S = 0.001  # past a limit
ASKED_S = 1.0  # how long a client may already be done before its flow is on record


class RelayHandle(ABC):
    """A relay that serves.

    When it has stopped, what happened can still be read; anything else is a RuntimeError that says so.
    """

    def __init__(self, relay: Relay, records: Records) -> None:
        self._relay = relay
        self._records = records
        self._control: ControlServer | None = None

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
    def config(self) -> RelayConfig:
        """What it was started with."""
        return self._relay.config

    @property
    def profile(self) -> Profile:
        """What flows are made with from now on: the profile it was started with, and what `set` made of it."""
        return self._relay.profile

    @property
    def fidelity(self) -> list[QuirkFidelity]:
        """How well this host shows each quirk of the profile that it was started with."""
        return list(self._relay.fidelity)

    @property
    def control_url(self) -> str:
        """Where a browser, or a program in any language, sees this relay and steers it: on 127.0.0.1, for as long as
        the relay serves. The first look opens it.
        """
        self._records.demand_more()
        if self._control is None:
            self._control = self._in_loop(self._open_control)
        return self._control.url

    # What happens

    @property
    def log(self) -> EventLog:
        """The event log; what `log.subscribe(listener)` adds is called in the relay's own thread."""
        return self._relay.log

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

    @abstractmethod
    def wait_for(
        self, event: EventType | str, *, timeout_s: float = 5.0, flow: int | None = None, **fields: Any
    ) -> Record | Awaitable[Record]:
        """The first record of this event (of this flow) whose fields have these values, once there is one.

        A `side` may be a `Side` or any of its names. `timeout_s` is in seconds of the real clock.

        Raises:
            ConfigError: there is no such event, or it has no such field, side or cause, or it never comes.
            AssertionError: there was none in time; the message lists what did happen.
        """

    @abstractmethod
    def assert_used(self) -> Awaitable[None] | None:
        """Insist that some connection was asked for through the relay.

        Go programs and browsers skip a proxy for loopback addresses without a word, whatever setting names it: their
        origin needs a name (`resolve`), or they are given a forward.

        Raises:
            AssertionError: none was; the message says what the usual reasons are.
        """

    @abstractmethod
    def await_records(self) -> Awaitable[None] | None:
        """Wait for records that are held back until their flow's process is known, for 0.25 s at most."""

    @abstractmethod
    def log_text(self, since: int = 0) -> str | Awaitable[str]:
        """What happened, for people, one line per record; the first `since` records are left out."""

    def _check_wanted(self, fields: Mapping[str, Any], event: str) -> None:
        """Insist that a record like this can come.

        Raises:
            ConfigError: it cannot.
        """
        if event == EventType.TOS_CHANGED and not any(map(_looks_at_tos, (self.config.profile, self.profile))):
            raise ConfigError(
                f"wait_for: tos-changed never comes: no behaviour of {self.profile.name} looks at the TOS byte",
                hint="add one that looks and leaves the connection as it is: tos_watch={}, beside the profile",
            )
        own = (quirk.name for quirk in self.profile.quirks)
        causes = [str(cause) for cause in dict.fromkeys((*installed_behaviours(), *own, *Cause))]
        for name, value in fields.items():
            if name.endswith("because") and value is not None and str(value).removeprefix("fault:") not in causes:
                raise ConfigError(
                    f"wait_for: there is no cause {value!r}", hint=nearest(str(value), causes, "the causes")
                )

    def _unused(self) -> AssertionError:
        return AssertionError(
            f"nothing was asked of the relay at {self._relay.address}; what happened:\n{as_text(self.events)}\n"
            "Go programs, browsers and many others skip a proxy for loopback addresses without a word: give the "
            "origin a name with nat.resolve(), or use nat.forward()"
        )

    def _open_control(self) -> ControlServer:
        history = History(self._relay.log, self._records.snapshot())
        control = ControlServer(control_spec("127.0.0.1:0"), self._relay, history)
        self._relay.run_beside(control.run)
        return control

    @abstractmethod
    def _in_loop(self, function: Callable[[], ResultT]) -> ResultT:
        """Call this in the relay's own thread."""

    # Commands to it

    @abstractmethod
    def do(self, command: Command[ResultT]) -> ResultT:
        """Carry out a command of `relay.control`, and return what it gives.

        Raises:
            ConfigError: it cannot be carried out as it is, and nothing was changed.
            RuntimeError: the relay has stopped.
        """

    def forward(self, host: str, port: int, **behaviours: Mapping[str, object]) -> Endpoint:
        """Open a port forward to HOST:PORT and return where it listens, as a (host, port) pair.

        Settings are for its connections alone: `nat.forward("127.0.0.1", 6379, latency={"delay_s": 0.1})`.

        Raises:
            ConfigError: there is no such host or port, or a setting is wrong.
        """
        return self._forward(host, port, Side.INTERNAL, behaviours)

    def forward_inbound(self, host: str, port: int, **behaviours: Mapping[str, object]) -> Endpoint:
        """Likewise, to a server of the guest's: what is dialled is then the app under test."""
        return self._forward(host, port, Side.EXTERNAL, behaviours)

    def _forward(
        self, host: str, port: int, initiator: Side, behaviours: Mapping[str, Mapping[str, object]]
    ) -> Endpoint:
        where = "forward" if initiator is Side.INTERNAL else "forward_inbound"
        target = check_endpoint(host, port, where=where)
        with worded_for_python(behaviours) as settings:
            return self.do(OpenForward(ForwardSpec(Endpoint("127.0.0.1", 0), target, tuple(settings)), initiator))

    def resolve(self, name: str, port: int, address: str) -> None:
        """Answer `name` with `address` from now on, when it is asked for with `port`."""
        literal = f"[{address}]" if ":" in address else address
        self.do(ResolveAs(parse_resolve(f"{name}:{port}:{literal}", where="resolve")))

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

    @abstractmethod
    def advance(
        self, seconds: float, *, keepalive: KeepaliveCredit = "credit"
    ) -> list[Record] | Awaitable[list[Record]]:
        """Have so many seconds pass on the NAT's clock at once; returns the records of what that caused, in order.

        The relay comes to rest first: what was sent before this call, within this host, is carried before. Then
        behaviours' timers and idle limits that are due fire in order, each at its own moment, and what follows from one
        is done before the next. The last record is `time-advanced`.

        Nothing else moves: the app and the server have clocks of their own, so have kernels (keepalive probes,
        retransmissions, TIME-WAIT), and so have the limits on a handshake and on a connect. What that means for a flow
        is in the log: `not-advanced`. Keepalive is the exception: where the app's socket, or the server's, is one of
        this host's, the probes that it would send meanwhile count as traffic: `keepalive-presumed`. That is exact for
        sockets of this very process and approximate for others; `keepalive="ignore"` turns it off.

        Raises:
            ConfigError: it is no number of seconds, or `keepalive` is neither of the two words.
            Unsettled: the relay does not come to rest within 1 s of real time; the message names the flow that is busy.
        """

    @abstractmethod
    def expire(self, *, keepalive: KeepaliveCredit = "credit") -> list[Record] | Awaitable[list[Record]]:
        """`advance` just past the longest idle limit of the profile: what has no traffic meanwhile expires.

        Raises:
            ConfigError: the profile has no idle limit.
            Unsettled: as `advance`.
        """

    def _past_idle_limit_s(self) -> float:
        """How far `expire` moves the clock; of settings that `set` has changed the longer one counts."""
        limits = [each for profile in (self.config.profile, self.profile) if (each := profile.idle_limit_s) is not None]
        if not limits:
            raise ConfigError(
                f"expire: {self.profile.name} has no idle limit",
                hint="give it one, idle_timeout={'after_s': 350}, or advance() by seconds of your own",
            )
        return max(limits) + _JUST_S

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

    @abstractmethod
    def drain(self, at_most_s: float) -> Awaitable[None] | None:
        """Accept nothing more, and wait until the last flow has ended, for so many seconds at most."""


def _looks_at_tos(profile: Profile) -> bool:
    return any(want.ability is Ability.TOS for want in profile.wants)
