"""The flows of one relay, and what they share; `relay.driver.flow` has the flow itself."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import anyio
import anyio.to_thread

from relay.address import Endpoint, ResolveOverride
from relay.causes import Cause
from relay.driver.bound import BoundFlow
from relay.driver.choosing import Choosing
from relay.driver.datagrams import DatagramFlow
from relay.driver.doors import Doors
from relay.driver.faults import Faults
from relay.driver.flow import Flow
from relay.driver.flow_log import FlowLog
from relay.driver.slots import Slots
from relay.driver.surplus import Surplus
from relay.events import Side
from relay.frontends import Conversation, Dialler, Names, PendingConnection
from relay.frontends.bound import BoundConnection
from relay.legs import Leg, Process
from relay.log import EventLog
from relay.loop.engine import Engine
from relay.machine import FlowMachine
from relay.net.connect import Connector
from relay.net.datagram_leg import Dropped
from relay.profiles import Profile
from relay.totals import Totals

_MAX_LINGERING = 64  # beyond --max-flows: connections whose handshake has failed and that have not closed yet
_MAX_OWNER_LOOKUPS = 32  # at once; beyond that a flow's process stays unknown
_OWNER_WITHIN_S = 0.25  # it takes milliseconds, and the event log waits for it


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """How long things may take, in seconds, and how many flows there may be; None is no limit."""

    handshake_timeout_s: float = 10.0
    max_flows: int | None = None


class Driver:
    """The flows of one relay, and what they share."""

    def __init__(
        self,
        engine: Engine,
        connector: Connector,
        profile: Profile,
        log: EventLog,
        limits: Limits,
        seed: int = 0,
        *,
        first_flow: int = 1,
        flow_step: int = 1,
    ) -> None:
        self.engine = engine
        self.now_s = engine.nat.now_s
        """Seconds on the NAT's clock."""
        self.connector = connector
        self.connect_timeout_s = connector.timeout_s
        self._diallers: list[Dialler] = [connector]  # the first that reaches a destination opens the connection
        self._names: list[Names] = [connector]
        self.profile = profile
        """What flows are made with from now on; those that are open keep theirs."""
        self.forward_profiles: dict[Endpoint, Profile] = {}
        """The same for flows that come in by a forward with settings of its own, by where it listens."""
        self.log = log
        self.limits = limits
        self.seed = seed
        self.flows_before_seed = 0
        """How many flows there were before the seed was set: they do not count for what follows from it."""
        self.frozen: set[Side] = set()
        """The sides that are frozen, of every flow there is and every one to come."""
        self._to_be_thawed: list[Flow] = []  # flows that ended meanwhile: a leg may have bytes for its peer
        self.flows: dict[int, Flow] = {}
        self.faults = Faults(self)
        """What flows suffer by commands."""
        self.choosing = Choosing(self)
        """Which behaviours flows have, where these have conditions."""
        self._flow_step = flow_step
        self._last_flow = first_flow - flow_step
        self.slots = Slots(engine, part=(first_flow - 1) % flow_step, of=flow_step)
        """What flows share in limited numbers."""
        self.doors = Doors()
        """What clients have the relay keep open for others to come in by."""
        self._surplus = Surplus(engine, log, limits.handshake_timeout_s)
        self._lingering: list[Leg] = []
        self._lookups = 0
        self._idle = anyio.Event()
        self._begun = 0
        self._ended = Totals()

    def accept(self, leg: Leg, conversation: Conversation) -> None:
        """Take over a connection that was just accepted."""
        if self.limits.max_flows is not None and len(self.flows) >= self.limits.max_flows:
            self._surplus.turn_away(leg, conversation, self.limits.max_flows)
            return
        if (flow := self._new_flow(leg, conversation.initiator, conversation.forward)) is not None:
            flow.start(leg, conversation)

    def take(self, pending: PendingConnection, forward: Endpoint | None = None) -> None:
        """Take over a connection that was asked for, by a client of this forward if it came in by one."""
        if (flow := self._new_flow(pending.leg, pending.initiator, forward)) is not None:
            flow.start_pending(pending)

    def take_datagrams(
        self, pending: PendingConnection, dropped: Dropped, forward: Endpoint | None = None
    ) -> Flow | None:
        """Take over a mapping of UDP that a datagram asks for; `dropped` takes note of what cannot be sent.

        Returns None where there is no room for it; then its leg is closed.
        """
        if not self.has_room:
            pending.leg.close()
            return None
        flow = self._new_flow(pending.leg, pending.initiator, forward, partial(DatagramFlow, dropped=dropped))
        if flow is not None:
            flow.start_pending(pending)
        return flow

    def take_bound(self, bound: BoundConnection, forward: Endpoint | None = None) -> None:
        """Take over a connection that a client has waited for."""
        if (flow := self._new_flow(bound.leg, bound.initiator, forward, partial(BoundFlow, bound=bound))) is not None:
            flow.start_pending(bound)

    @property
    def has_room(self) -> bool:
        """Whether there may be one more flow."""
        return self.limits.max_flows is None or len(self.flows) < self.limits.max_flows

    def dial_through(self, dialler: Dialler) -> None:
        """Have this open the connections to what it reaches, from now on."""
        self._diallers.insert(0, dialler)

    def share_names(self, names: Names) -> None:
        """Have this know, too, which names are answered by the relay itself from now on."""
        self._names.append(names)

    def resolve_as(self, override: ResolveOverride) -> None:
        """Answer a name by this address from now on."""
        for names in self._names:
            names.resolve_as(override)

    def dialler_of(self, destination: Endpoint, side: Side) -> Dialler:
        """What opens connections to a destination on this side."""
        for each in self._diallers:
            if each.reaches(destination, side):
                return each
        raise AssertionError("the last dialler reaches everything")

    def forget(self, flow: Flow) -> None:
        """The flow is over."""
        self.flows.pop(flow.number, None)
        if self.frozen:
            self._to_be_thawed.append(flow)
        if not self.flows:
            self._idle.set()

    def take_ending(
        self, machine: FlowMachine, carried: tuple[int, int], received: tuple[int, int], forward: Endpoint | None
    ) -> None:
        """Count what a flow has carried, and received, out and in, and what ended it."""
        acted = {machine.cause}
        for ending in machine.endings.values():
            acted.add(ending.because)
        self._ended.take_ending(machine.cause, acted, carried, received, forward)

    @property
    def totals(self) -> Totals:
        """What all flows so far come to."""
        totals = Totals(flows=self._begun, open=len(self.flows))
        totals.add(self._ended)
        return totals

    def lets_linger(self, leg: Leg) -> bool:
        """Whether a client that is turned away has time to read its answer. It holds a descriptor meanwhile."""
        if self.limits.max_flows is None:
            return True
        self._lingering = [each for each in self._lingering if not each.closed]
        if len(self.flows) + len(self._lingering) >= self.limits.max_flows + _MAX_LINGERING:
            return False
        self._lingering.append(leg)
        return True

    async def wait_until_idle(self) -> None:
        """Until no flow is open."""
        self._idle = anyio.Event()
        if self.flows:
            await self._idle.wait()

    def reseed(self, seed: int) -> None:
        """Derive what is left to chance from another seed, as if the next flow were the first."""
        self.seed = seed
        self.flows_before_seed = self._last_flow
        self.choosing.start_anew()

    @property
    def holds_records(self) -> bool:
        """Whether some flow's records are held back, until its process is known."""
        return self._lookups > 0

    def link_down(self) -> None:
        """Have every flow act on the host's link going down."""
        self.log.emit("link-down")
        for flow in list(self.flows.values()):
            flow.link_down()

    def freeze(self, side: Side) -> None:
        """Neither read nor write this side of any flow, until it is thawed."""
        if side not in self.frozen:
            self.frozen.add(side)
            self.log.emit("frozen", side=side.value)
            for flow in list(self.flows.values()):
                flow.freeze(side)

    def thaw(self, side: Side) -> None:
        """Go on where `freeze` stopped."""
        if side in self.frozen:
            self.frozen.discard(side)
            self.log.emit("thawed", side=side.value)
            for flow in [*self.flows.values(), *self._to_be_thawed]:
                flow.thaw(side)
            if not self.frozen:
                self._to_be_thawed.clear()

    def end_all(self, because: str) -> int:
        """Reset every flow that is left; returns how many there were."""
        flows = list(self.flows.values())
        for flow in flows:
            flow.give_up(because)
        return len(flows)

    def end_forward(self, forward: Endpoint) -> int:
        """End the flows that came in by a forward, in order; returns how many there were."""
        self.faults.forget(forward)
        flows = [flow for flow in self.flows.values() if flow.forward == forward]
        for flow in flows:
            flow.give_up(Cause.COMMAND, in_order=True)
        return len(flows)

    def name_owner(self, log: FlowLog, leg: Leg, *, wanted: bool) -> None:
        """Find out which process has the other end of a leg, if that is wanted or the log has a listener."""
        if not (wanted or self.log.wanted):
            return
        if (process := leg.glimpse_process()) is not None:
            log.name_process(process)
        elif self._lookups < _MAX_OWNER_LOOKUPS:
            self._lookups += 1
            log.hold()
            self.engine.spawn(self._look_up_owner, log, leg)

    async def _look_up_owner(self, log: FlowLog, leg: Leg) -> None:
        found: Process | None = None
        try:
            with self.engine.limited(_OWNER_WITHIN_S):
                found = await anyio.to_thread.run_sync(leg.find_process, abandon_on_cancel=True)
        except OSError:
            pass  # the connection is over already
        finally:
            self._lookups -= 1
            log.name_process(found)

    def _new_flow(
        self,
        leg: Leg,
        initiator: Side,
        forward: Endpoint | None = None,
        kind: Callable[[Driver, int, Side, Endpoint | None], Flow] | None = None,
    ) -> Flow | None:
        """A flow, or None where making one has failed; then the leg is closed."""
        self._last_flow += self._flow_step
        self._begun += 1
        try:
            flow = (kind or Flow)(self, self._last_flow, initiator, forward)
        except Exception as fault:
            leg.close()
            self.engine.on_fault(fault)
            return None
        self.flows[flow.number] = flow
        return flow
