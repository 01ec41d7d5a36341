"""Commands to a relay that serves, under names that are the same wherever its program runs."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Awaitable, Mapping
from typing import TypeVar

from relay.address import Endpoint, ForwardSpec, check_endpoint, parse_resolve
from relay.config import check_time_scale
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
from relay.errors import ConfigError
from relay.events import Side, SideName
from relay.log import Record
from relay.log.memory import Records
from relay.profiles import expires_after_s
from relay.server import Relay

__tracebackhide__ = True  # for pytest: what a test did wrong is in the test's own lines
ResultT = TypeVar("ResultT")


class RelayCommands(ABC):
    """Commands to a relay; when it has stopped, each is a RuntimeError that says so."""

    _relay: Relay
    _records: Records

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
        """Let `seconds` pass on the NAT's clock at once; returns the records of what that caused, in order.

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
        relay = self._relay
        after_s = expires_after_s((relay.config.profile, relay.profile))
        if after_s is None:
            raise ConfigError(
                f"expire: {relay.profile.name} has no idle limit",
                hint="give it one, idle_timeout={'after_s': 350}, or advance() by seconds of your own",
            )
        return after_s

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
        check_time_scale(value, where="time_scale")
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
        """Accept nothing more, and wait until the last flow has ended, for `at_most_s` seconds at most."""
