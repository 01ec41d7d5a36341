"""A relay that serves, as its program has it: commands to it, and what can be read of it.

One set of verbs is for threads and event loops alike. `relay.handles._commands` has the commands.

The verbs that wait are blocking calls of `RunningRelay` and awaitable ones of `AsyncRelay`; all others are plain calls
of both. Names, arguments and types are the same.
"""

from __future__ import annotations

import os
from abc import abstractmethod
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, TypeVar
from urllib.parse import quote

from relay.abilities import Ability
from relay.address import Endpoint
from relay.behaviours import installed_behaviours
from relay.causes import Cause
from relay.config import RelayConfig
from relay.control_api import ControlServer, History, control_spec
from relay.errors import ConfigError
from relay.fault import recorded_as
from relay.fidelity import QuirkFidelity
from relay.handles._commands import RelayCommands
from relay.log import EventLog, EventType, Record
from relay.log.memory import FlowStory, Records, as_text, nearest
from relay.profiles import Profile
from relay.server import Relay

__tracebackhide__ = True  # for pytest: what a test did wrong is in the test's own lines
ResultT = TypeVar("ResultT")
HELD_BACK_S = 0.25  # finding out whose flow it is takes milliseconds
ASKED_S = 1.0  # how long a client may already be done before its flow is on record


class RelayHandle(RelayCommands):
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

        Go programs and browsers silently skip a proxy for loopback addresses, whatever setting names it: their
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
        faults = (recorded_as(""), recorded_as("", of_forward=True))
        for name, value in fields.items():
            if not name.endswith("because") or value is None or str(value).startswith(faults):
                continue
            if str(value).removeprefix("fault:") not in causes:
                raise ConfigError(
                    f"wait_for: there is no cause {value!r}", hint=nearest(str(value), causes, "the causes")
                )

    def _unused(self) -> AssertionError:
        return AssertionError(
            f"nothing was asked of the relay at {self._relay.address}; what happened:\n{as_text(self.events)}\n"
            "Go programs, browsers and many others silently skip a proxy for loopback addresses: give the "
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


def _looks_at_tos(profile: Profile) -> bool:
    return any(want.ability is Ability.TOS for want in profile.wants)
