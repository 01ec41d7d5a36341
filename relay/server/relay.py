"""One relay in one process: what it carries out, and the listeners that it has open."""

from __future__ import annotations

import contextlib
from collections.abc import Awaitable, Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TypeVar, cast

import anyio

from relay.address import Endpoint, ForwardSpec, ResolveOverride
from relay.causes import Cause
from relay.config import RelayConfig, check_advance, check_time_scale
from relay.control import (
    Adjust,
    AdjustForward,
    Advance,
    CloseForward,
    Command,
    CountUp,
    Drain,
    Freeze,
    KeepaliveCredit,
    LiftFault,
    LinkDown,
    ListFaults,
    ListFlows,
    OpenFlow,
    OpenForward,
    ResolveAs,
    SetFault,
    SetSeed,
    SetTimeScale,
    Thaw,
    no_such_forward,
)
from relay.deprecation import warn_of_former_name
from relay.driver import Driver, Flow, advance
from relay.errors import ConfigError, RelayBug
from relay.events import Side, SideName
from relay.fidelity import QuirkFidelity
from relay.frontends import FrontEnd
from relay.frontends.listening import ForwardFrontEnd, ListeningContext, ListeningFrontEnd, ProxyFrontEnd
from relay.log import EventLog, Record
from relay.loop.settling import Steps, finish, follow
from relay.observe import Observers
from relay.profiles import Profile, adjust_profile
from relay.server.started import emit_started
from relay.totals import Totals

ResultT = TypeVar("ResultT")
_STACK_HINT = "start another one with them, e.g. relay run --set stack.mss=1400"


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
        self.address: Endpoint | None = None
        """Where the proxy listens, if there is one."""
        self.forward_addresses: list[Endpoint] = []
        """Where each forward listens, in the order they were given."""
        self.inbound_addresses: list[Endpoint] = []
        """Likewise for inbound forwards."""
        self.targets: dict[Endpoint, Endpoint] = {}
        """Where each forward leads, inbound ones too, by where it listens."""
        self._driver = driver
        self._forward_settings: dict[Endpoint, tuple[str, ...]] = {}
        self._is_one_of_several = share is not None
        self._listening = ListeningContext(
            driver.engine,
            observers,
            shared=share is not None,
            resting=lambda reason: log.emit("accept-paused", reason=reason),
            resumed=lambda: log.emit("accept-resumed"),
        )
        self._listening_front_ends: list[ListeningFrontEnd] = []
        self._others = list(front_ends)
        self._advances = anyio.Lock()
        self.wire = [each.describe() for each in front_ends]
        """The guests' links, in wire mode."""

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
        return cast("ResultT", self._carry_out(command))

    async def carry_out(self, command: Command[ResultT]) -> ResultT:
        """`do`, where other tasks go on while a command waits for something.

        Raises:
            ConfigError, Unsettled: likewise.
        """
        if not isinstance(command, Advance):
            return self.do(command)
        async with self._advances:
            return cast("ResultT", await follow(self._driver.engine, self._advance(command, waits=True)))

    def _advance(self, command: Advance, *, waits: bool) -> Steps[list[Record]]:
        check_advance(command.seconds, command.keepalive)
        credit, in_step = command.keepalive == "credit", self._is_one_of_several
        return advance(self._driver, command.seconds, credit=credit, waits=waits, in_step=in_step)

    def _carry_out(self, command: Command[object]) -> object:
        driver = self._driver
        match command:
            case Freeze(side):
                driver.freeze(side)
            case Thaw(side):
                driver.thaw(side)
            case LinkDown():
                driver.link_down()
            case Adjust(settings):
                self._adjust(settings)
            case OpenForward(spec, initiator):
                return self._open_forward(spec, initiator)
            case AdjustForward(address, settings):
                self._adjust_forward(address, settings)
            case ResolveAs(override):
                driver.resolve_as(override)
            case SetFault(name, fault, forward):
                self._demand_forward(forward)
                driver.faults.set(name, fault, forward)
            case LiftFault(name, forward):
                return driver.faults.lift(name, forward)
            case ListFaults():
                return [SetFault(*each) for each in driver.faults.all()]
            case SetTimeScale(scale):
                check_time_scale(scale)
                driver.engine.nat.scale = scale
            case Advance():
                return finish(driver.engine, self._advance(command, waits=False))
            case SetSeed(seed):
                driver.reseed(seed)
            case CloseForward(address):
                return self._close_forward(address)
            case CountUp():
                return driver.totals
            case ListFlows():
                return [_open_flow(flow) for _, flow in sorted(driver.flows.items())]
            case Drain(at_most_s):
                self._stop_listening()
                self.log.emit("relay-draining", flows=self.flow_count, at_most_s=at_most_s)
                return self.flow_count
            case _:
                raise RelayBug(f"{command!r} is carried out nowhere")
        return None

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
        self.do(SetTimeScale(value))

    async def advance(self, seconds: float, *, keepalive: KeepaliveCredit = "credit") -> list[Record]:
        """Have so many seconds pass on the NAT's clock at once; see `relay.control.Advance`.

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

    @contextlib.contextmanager
    def limited(self, at_most_s: float) -> Iterator[None]:
        """Cancel the block after so many seconds, by the relay's real clock, which no test's clock replaces."""
        with anyio.CancelScope() as scope:
            timer = self._driver.engine.call_later(at_most_s, scope.cancel)
            try:
                yield
            finally:
                timer.cancel()

    def open_listeners(self) -> None:
        """Begin to serve; `open_relay` does."""
        config = self.config
        if config.listen is not None:
            self.address = self._open(ProxyFrontEnd(self._listening, config.listen, config.auth))
        for spec in config.forwards:
            self.forward(spec)
        for spec in config.inbound:
            self.forward(spec, Side.EXTERNAL)
        for front_end in self._others:
            front_end.open(self._driver)
        emit_started(self)

    def stop(self) -> int:
        """End everything now; returns how many flows that ended."""
        self._stop_listening()
        return self._driver.end_all(Cause.SHUTDOWN)

    def _adjust(self, settings: tuple[str, ...]) -> None:
        adjusted = self._adjusted(self._driver.profile, settings)
        own = {address: self._adjusted(adjusted, own) for address, own in self._forward_settings.items()}
        self._driver.profile, self._driver.forward_profiles = adjusted, own
        for front_end in self._listening_front_ends:
            self._cover(front_end)
        self.log.emit("settings-changed", settings=list(settings))

    def _adjust_forward(self, address: Endpoint, settings: tuple[str, ...]) -> None:
        front_end = self._find_forward(address)
        adjusted = self._adjusted(self._driver.profile, settings)
        self._keep_settings(address, settings, adjusted)
        self._cover(front_end)
        self.log.emit("forward-changed", forward=str(address), settings=list(settings))

    def _adjusted(self, profile: Profile, settings: tuple[str, ...]) -> Profile:
        adjusted = adjust_profile(profile, settings)
        if adjusted.stack != self.config.profile.stack:
            raise ConfigError("the stack's settings are those that the relay was started with", hint=_STACK_HINT)
        return adjusted

    def _keep_settings(self, address: Endpoint, settings: tuple[str, ...], profile: Profile) -> None:
        """Have a forward's flows made with settings of its own; without any, with the relay's."""
        self._forward_settings.pop(address, None)
        self._driver.forward_profiles.pop(address, None)
        if settings:
            self._forward_settings[address] = settings
            self._driver.forward_profiles[address] = profile

    def _cover(self, front_end: ListeningFrontEnd) -> None:
        front_end.cover(self._driver.forward_profiles.get(front_end.address, self.profile).tos_mask)

    def _open_forward(self, spec: ForwardSpec, initiator: Side) -> Endpoint:
        profile = self._adjusted(self.profile, spec.settings) if spec.settings else self.profile
        front_end = ForwardFrontEnd(self._listening, spec, initiator)
        address = self._open(front_end)
        self._keep_settings(address, spec.settings, profile)
        self._cover(front_end)
        (self.inbound_addresses if initiator is Side.EXTERNAL else self.forward_addresses).append(address)
        self.targets[address] = spec.target
        return address

    def _demand_forward(self, forward: Endpoint | None) -> None:
        if forward is not None and forward not in self.targets:
            raise no_such_forward(forward, self.targets)

    def _close_forward(self, address: Endpoint) -> int:
        front_end = self._find_forward(address)
        front_end.close()
        self._listening_front_ends.remove(front_end)
        self._driver.connector.own_addresses.discard(address)
        (self.inbound_addresses if front_end.initiator is Side.EXTERNAL else self.forward_addresses).remove(address)
        del self.targets[address]
        self._keep_settings(address, (), self.profile)
        return self._driver.end_forward(address)

    def _find_forward(self, address: Endpoint) -> ForwardFrontEnd:
        for front_end in self._listening_front_ends:
            if isinstance(front_end, ForwardFrontEnd) and front_end.address == address:
                return front_end
        raise no_such_forward(address, self.targets)

    def _open(self, front_end: ListeningFrontEnd) -> Endpoint:
        front_end.open(self._driver)
        self._listening_front_ends.append(front_end)
        self._cover(front_end)
        self._driver.connector.own_addresses.add(front_end.address)
        return front_end.address

    def run_beside(self, function: Callable[[], Awaitable[None]]) -> None:
        """Run an async function for as long as the relay serves; what it raises is recorded as a fault."""
        self._driver.engine.spawn(function)

    def _stop_listening(self) -> None:
        for front_end in (*self._listening_front_ends, *self._others):
            front_end.close()
        self._listening_front_ends.clear()
        self._others.clear()


def _open_flow(flow: Flow) -> OpenFlow:
    bytes_out, bytes_in = flow.carried_bytes
    peer = flow.client_end()
    return OpenFlow(
        number=flow.number,
        client=str(peer) if peer is not None else "",
        destination=str(flow.destination) if flow.destination is not None else "",
        process=flow.log.process,
        forward=flow.forward,
        bytes_out=bytes_out,
        bytes_in=bytes_in,
        age_s=round(flow.now_s() - flow.log.started_s, 6),
    )
