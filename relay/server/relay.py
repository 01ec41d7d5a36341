"""One relay in one process: what programs read of it, and the commands that they give it as plain calls.

listeners     the ways in, `relay.server.listeners`
performing    what each command does, `relay.server.performing`
driver        the flows, `relay.driver`
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import TypeVar, cast

from relay.address import Endpoint, ForwardSpec, ResolveOverride
from relay.causes import Cause
from relay.config import RelayConfig, check_time_scale
from relay.control import (
    Adjust,
    Advance,
    Command,
    Drain,
    Freeze,
    KeepaliveCredit,
    LinkDown,
    OpenForward,
    ResolveAs,
    SetSeed,
    SetTimeScale,
    Thaw,
)
from relay.deprecation import warn_of_former_name
from relay.driver import Driver
from relay.events import Side, SideName
from relay.fidelity import QuirkFidelity
from relay.frontends import FrontEnd
from relay.log import EventLog, Record
from relay.observe import Observers
from relay.profiles import Profile
from relay.server.listeners import Listeners
from relay.server.performing import Commands
from relay.server.started import emit_started
from relay.totals import Totals

ResultT = TypeVar("ResultT")


@dataclass(frozen=True, slots=True, kw_only=True)
class Share:
    """What one of several relays has that serve on the same addresses, each in a process of its own."""

    first_flow: int
    """The number of its first flow."""
    of: int
    """How many relays there are; its flows are numbered in steps of as many."""


class Relay:
    """A relay that is serving; made by `open_relay`. Its methods are for the thread that it runs in."""

    def __init__(
        self,
        config: RelayConfig,
        log: EventLog,
        driver: Driver,
        observers: Observers,
        fidelity: list[QuirkFidelity],
        share: Share | None = None,
        front_ends: Sequence[FrontEnd] = (),
    ) -> None:
        self.config = config
        self.log = log
        self.fidelity = fidelity
        """How well this host can show each quirk of the profile."""
        is_shared = share is not None
        self._driver = driver
        self._listeners = Listeners(driver, observers, log, shared=is_shared, front_ends=front_ends)
        self._commands = Commands(driver, self._listeners, log, in_step=is_shared)
        self.wire = [each.describe() for each in front_ends]
        """The guests' links, in wire mode."""

    @property
    def address(self) -> Endpoint | None:
        """Where the proxy listens, if there is one."""
        return self._listeners.address

    @property
    def forward_addresses(self) -> list[Endpoint]:
        """Where each forward listens, in the order they were given."""
        return self._listeners.forward_addresses

    @property
    def inbound_addresses(self) -> list[Endpoint]:
        """Likewise for inbound forwards."""
        return self._listeners.inbound_addresses

    @property
    def targets(self) -> dict[Endpoint, Endpoint]:
        """Where each forward leads, inbound ones too, by where it listens."""
        return self._listeners.targets

    @property
    def forward_settings(self) -> Mapping[Endpoint, tuple[str, ...]]:
        """The settings of their own that forwards have, by where they listen."""
        return self._listeners.forward_settings

    @property
    def flow_count(self) -> int:
        """How many flows are open."""
        return len(self._driver.flows)

    @property
    def profile(self) -> Profile:
        """What flows are made with from now on: the profile it was started with, and what `adjust` made of it."""
        return self._driver.profile

    def do(self, command: Command[ResultT]) -> ResultT:
        """Carry out a command; see `relay.control` for what each means and returns.

        Raises:
            ConfigError: it cannot be carried out as it is, and nothing was changed.
            Unsettled: a flow does not come to rest, which `Advance` waits for.
            RuntimeError: `Advance` comes from inside the relay's own work, by a listener of its log for instance.
        """
        return cast("ResultT", self._commands.perform(command))

    async def carry_out(self, command: Command[ResultT]) -> ResultT:
        """`do`, where other tasks go on while a command waits for something.

        Raises:
            ConfigError, Unsettled: likewise.
        """
        return cast("ResultT", await self._commands.perform_beside(command))

    def forward(
        self, spec: ForwardSpec, initiator: Side | SideName = Side.INTERNAL, *, opener: Side | SideName | None = None
    ) -> Endpoint:
        """Open one more port forward and return where it listens.

        With `initiator` external it is an inbound one: its target is the guest. `opener` is its former name.

        Raises:
            ConfigError: the address cannot be listened on.
        """
        if opener is not None:
            warn_of_former_name("forward(opener=...)", "forward(initiator=...)", stacklevel=2)
        return self.do(OpenForward(spec, opener or initiator))

    def resolve_as(self, override: ResolveOverride) -> None:
        """Answer a name ourselves from now on."""
        self.do(ResolveAs(override))

    def freeze(self, side: Side | SideName) -> None:
        """Neither read nor write this side of any flow, now or later, until it is thawed.

        A frozen external side looks dead: on Linux with CAP_NET_ADMIN even its kernel does not answer any more.
        """
        self.do(Freeze(side))

    def thaw(self, side: Side | SideName) -> None:
        """Go on where `freeze` stopped."""
        self.do(Thaw(side))

    @property
    def time_scale(self) -> float:
        """How many times as fast as the real clock the NAT's runs."""
        return self._driver.engine.nat.scale

    @time_scale.setter
    def time_scale(self, value: float) -> None:
        check_time_scale(value, where="time_scale")
        self.do(SetTimeScale(value))

    async def advance(self, seconds: float, *, keepalive: KeepaliveCredit = "credit") -> list[Record]:
        """Let `seconds` pass on the NAT's clock at once; see `relay.control.Advance`.

        Raises:
            ConfigError: it is no number of seconds.
            Unsettled: a flow does not come to rest.
        """
        return await self.carry_out(Advance(seconds, keepalive))

    @property
    def seed(self) -> int:
        """What is left to chance follows from this, and from the number of flows since it was set."""
        return self._driver.seed

    @seed.setter
    def seed(self, value: int) -> None:
        self.do(SetSeed(value))

    @property
    def holds_records(self) -> bool:
        """Whether some flow's records are held back for a moment, until its process is known."""
        return self._driver.holds_records

    def adjust(self, *settings: str) -> None:
        """Change settings, `BEHAVIOUR.SETTING=VALUE`, for flows that are opened from now on.

        Raises:
            ConfigError: a setting is wrong; none was changed.
        """
        self.do(Adjust(settings))

    @property
    def totals(self) -> Totals:
        """What all flows so far come to."""
        return self._driver.totals

    async def count_up(self) -> Totals:
        """The same, as `Workers` say it."""
        return self.totals

    def link_down(self) -> None:
        """Tell every flow that the host's network link went down."""
        self.do(LinkDown())

    async def drain(self, at_most_s: float) -> None:
        """Accept nothing more, and wait until the last flow has ended, for a bounded time."""
        self.do(Drain(at_most_s))
        await self.wait_until_idle(at_most_s)

    async def wait_until_idle(self, at_most_s: float) -> None:
        """Wait until no flow is open, for a bounded time."""
        with self.limited(at_most_s):
            await self._driver.wait_until_idle()

    def limited(self, at_most_s: float) -> AbstractContextManager[None]:
        """Cancel the block after `at_most_s` seconds of the relay's real clock, which no test's clock replaces."""
        return self._driver.engine.limited(at_most_s)

    def open_listeners(self) -> None:
        """Begin to serve; `open_relay` does."""
        self._listeners.open(self.config)
        emit_started(self)

    def stop(self) -> int:
        """End everything now; returns how many flows that ended."""
        self._listeners.close()
        return self._driver.end_all(Cause.SHUTDOWN)

    def run_beside(self, function: Callable[[], Awaitable[None]]) -> None:
        """Run an async function for as long as the relay serves; what it raises is recorded as a fault."""
        self._driver.engine.spawn(function)
