"""One flow: turns what its legs do into events, and carries out what the machine makes of them.

A flow passes through these phases, each an object that holds what exists in it alone:

    Handshaking   the initiator says what it wants (a front end's conversation)
    RECOGNISING   a behaviour's condition names the app's process, which is being found out
    Resolving     the initiator wants only the answer to a question; the answer ends the flow
    Associating   the initiator wants to send datagrams, which are flows of their own (`relay.driver.datagrams`)
    Binding       the initiator waits for a peer's connection, which is a flow of its own (`relay.driver.bound`)
    Dialling      the behaviours were asked; what the initiator sends meanwhile is kept
    Carrying      two pumps move bytes, and every FIN, RST and change goes to the machine
    OVER          nothing more happens; a leg may still be flushing, or leave its peer unanswered

A flow takes events one at a time: one that comes while another is being answered waits for its turn. This module has no
code for any single behaviour. A fault, a behaviour's or our own, ends this flow and no other.
"""

from __future__ import annotations

import errno
from collections.abc import Callable, Mapping
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar, Protocol

from relay.abilities import Ability, Want
from relay.actions import WatchIdle
from relay.address import Endpoint
from relay.causes import Cause
from relay.debug import show_traceback
from relay.driver.associating import Associating
from relay.driver.binding import Binding
from relay.driver.carrying import Carrying
from relay.driver.chance import Chance
from relay.driver.dialling import Dialling
from relay.driver.flow_log import FlowLog
from relay.driver.handshaking import HANDSHAKE, Handshaking
from relay.driver.idleness import Idleness
from relay.driver.legs import FlowLegs
from relay.driver.performing import PERFORMERS
from relay.driver.requests import Requests
from relay.driver.resolving import Resolving
from relay.driver.shaping import drop_old_shapes
from relay.driver.timers import Timed
from relay.errors import BehaviourError, ProtocolError, RelayBug
from relay.events import Event, LimitReached, LinkWentDown, ProbeAnswered, ProbeArrived, Side, SlotTaken, TimerFired
from relay.frontends import Conversation, PendingConnection
from relay.legs import Leg
from relay.legs.in_front import LegInFront
from relay.machine import FlowMachine, Step
from relay.protocols import Associate, Bind, Resolve

if TYPE_CHECKING:
    from relay.driver.driver import Driver

LINGER_S = 60.0
"""How long a side has to end once the other is over, or neither sends any more. Linux keeps FIN_WAIT2 as long."""

_SEGMENTS = (Want(Ability.IDLENESS, by="segments"),)


class Phase(Protocol):
    """One phase of a flow."""

    def on_leg_ready(self) -> None:
        """A leg can be read or written again, or has broken."""

    def leave(self) -> None:
        """The flow is over: let go of what the phase holds."""


class _Idle:
    def on_leg_ready(self) -> None:
        pass

    def leave(self) -> None:
        pass


RECOGNISING: Phase = _Idle()
OVER: Phase = _Idle()


class Flow(Timed):
    """One flow. Owns its legs; see the module for its phases."""

    __slots__ = (
        "_answering",
        "_counts_requests",
        "_pending",
        "_waiting",
        "destination",
        "faults",
        "forward",
        "idleness",
        "initiator",
        "legs",
        "log",
        "machine",
        "number",
        "phase",
        "profile",
        "saw_data",
    )

    carrying_kind: ClassVar[type[Carrying]] = Carrying
    """The phase in which both legs are there."""
    suffers_faults: ClassVar[bool] = True
    """Whether the faults of commands are for it."""

    def __init__(self, driver: Driver, number: int, initiator: Side, forward: Endpoint | None = None) -> None:
        super().__init__(driver)
        self.number = number
        self.initiator = initiator
        self.log = FlowLog(driver.log, number, driver.engine.nat.now_s())
        self.forward = forward
        """The port forward that it came in by: where that listens."""
        self.profile = driver.profile if forward is None else driver.forward_profiles.get(forward, driver.profile)
        """What its behaviours are made from; of those that have conditions it may have a part."""
        lineup = self.profile.lineup
        chance = Chance(self.log, driver.seed, self.seeded_number) if lineup.draws else None
        self.machine = FlowMachine(
            lineup.unconditional if lineup.conditional else lineup,
            initiator,
            chance.give_to if chance is not None else None,
            self.log.write_dropped if driver.log.debug else None,
        )
        self.legs = FlowLegs(driver.engine, self.log)
        self.phase: Phase = OVER
        self.destination: Endpoint | None = None
        """What its initiator asked for; None until it asks."""
        self.faults: Mapping[str, Any] | None = None
        """What it suffers by commands, by name; see `relay.driver.faults`."""
        self._pending: PendingConnection | None = None
        self.idleness: Idleness | None = None
        """When there was traffic, once a behaviour wants to know."""
        self.saw_data: Callable[[Side], None] | None = None
        """Called with a side whose bytes were carried, once something wants to know."""
        self._counts_requests = False
        self._answering = False
        self._waiting: tuple[Event, ...] = ()

    @property
    def seeded_number(self) -> int:
        """Its number among the flows since the seed was set: what is left to chance follows from both."""
        return self.number - self.driver.flows_before_seed

    # Beginning

    def start(self, leg: Leg, conversation: Conversation) -> None:
        """Begin with a connection whose initiator has yet to make its request."""
        handshaking = self.phase = Handshaking(self, leg, conversation)
        self.guard(self._begin, leg, handshaking.begin)

    def start_pending(self, pending: PendingConnection) -> None:
        """Begin with a connection that was asked for."""
        self.guard(self._begin, pending.leg, partial(self.dial, pending))

    def _begin(self, leg: Leg, begin: Callable[[], None]) -> None:
        self.take_over(leg)
        begin()

    def take_over(self, leg: Leg) -> None:
        """Make a leg this flow's own."""
        driver = self.driver
        leg.owner = self
        self.legs.add(leg)
        if leg.side is Side.INTERNAL:
            driver.name_owner(self.log, leg, wanted=self.profile.lineup.names_process)
            leg.watch(self.profile.wants if self.destination is None else self.machine.lineup.wants, self)
        if leg.side in driver.frozen:
            self.legs.freeze(leg.side)

    # From one phase to the next

    def ask(self, leg: Leg, conversation: Conversation) -> None:
        """The initiator asks for something else than a connection to a destination."""
        self.stop_timer(HANDSHAKE)
        match conversation.question:
            case Resolve() as question:
                resolving = self.phase = Resolving(self, leg, conversation)
                resolving.begin(question)
            case Associate() as question:
                self._let_be(leg)
                associating = self.phase = Associating(self, leg, conversation)
                associating.begin(question)
            case Bind() as question:
                self._let_be(leg)
                binding = self.phase = Binding(self, leg, conversation, question)
                binding.begin()
            case None:
                raise RelayBug("nothing is asked")

    def _let_be(self, leg: Leg) -> None:
        """No behaviour is asked any more: the initiator's connection is to the relay itself."""
        self.machine = FlowMachine((), self.initiator)
        leg.watch((), self)

    def dial(self, pending: PendingConnection) -> None:
        """The initiator wants a connection."""
        self.stop_timer(HANDSHAKE)
        self._pending, self.destination = pending, pending.destination
        if self.profile.lineup.conditional:
            self._recognise(pending)
        else:
            self._dial(pending)

    def _recognise(self, pending: PendingConnection) -> None:
        """Find out which behaviours it has; that may take the name of the app's process."""
        recognised = partial(self.guard, self._recognised, pending)
        self.phase = RECOGNISING
        if not (self.profile.lineup.names_process and self.log.once_named(recognised)):
            self._recognised(pending)

    def _recognised(self, pending: PendingConnection) -> None:
        if self.phase is not RECOGNISING:
            return
        lineup = self.driver.choosing.choose(self, pending.destination)
        self.machine.go_on_with(lineup)
        if lineup.wants != self.profile.wants and pending.leg.side is Side.INTERNAL:
            pending.leg.watch(lineup.wants, self)
        self._dial(pending)

    def _dial(self, pending: PendingConnection) -> None:
        dialling = self.phase = Dialling(self, pending)
        dialling.begin()

    def carry(self, pending: PendingConnection, early: bytes) -> None:
        """Both legs are there."""
        try:
            carrying = self.carrying_kind(self, pending)
        except ProtocolError as error:
            self.end_exchange(error)
            return
        self.phase = self.log.carrying = carrying
        if self.machine.answered and pending.codec is None:
            self._pending = None  # not needed any more: an idle flow is to be small
        self.driver.faults.begin(self)
        if isinstance(pending.leg, LegInFront):  # only what one flow has handed over to the next brings an old shape
            drop_old_shapes(self)
        carrying.begin(early)

    def hand_over(self) -> None:
        """The initiator's next request is for another server: this flow ends in order, and another goes on."""
        pending = self.pending
        near = self.legs.give_away(self.initiator)
        near.watch((), self)  # the next flow asks for what its own profile wants
        self._perform(self.machine.hand_over(Cause.NEXT_REQUEST))
        self.finish()
        self.driver.take(pending.next_request(), self.forward)

    # The legs call

    def on_leg_ready(self, leg: Leg) -> None:
        try:  # as `guard` does
            self.phase.on_leg_ready()
        except Exception as fault:
            self.break_off(fault)

    def on_leg_saw(self, event: Event, withheld: bool) -> None:
        """The internal leg has seen an event; a segment that was withheld comes after all that came before it."""
        self.guard(self._take_seen, event, withheld)

    def _take_seen(self, event: Event, withheld: bool) -> None:
        if withheld and isinstance(self.phase, Carrying):
            self.phase.empty(Side.INTERNAL)
        if self.idleness is not None and isinstance(event, ProbeArrived):
            self.idleness.saw_probe(event.side)
        self.take(event)

    def get_slot(self, name: str) -> None:
        """A slot has become free that this flow has waited for."""
        self.guard(self._get_slot, name)

    def _get_slot(self, name: str) -> None:
        self.take(SlotTaken(self.now_s(), name))
        self.phase.on_leg_ready()

    def on_probe_answered(self, side: Side) -> None:
        """A side has answered a keepalive probe of ours."""
        if self.phase is not OVER:
            self.guard(self.take, ProbeAnswered(self.now_s(), side))

    def on_limit(self, side: Side, limit_bytes: int) -> None:
        """As many bytes have gone to a side as its shape lets pass."""
        if self.phase is not OVER:
            self.guard(self.take, LimitReached(self.now_s(), side, limit_bytes))
            self.guard(self.driver.faults.on_limit, self, side, limit_bytes)

    def report_broken(self, leg: Leg) -> None:
        """A leg's connection has broken."""
        self.take(self.legs.what_broke(leg, self.now_s()))

    # Commands

    def freeze(self, side: Side) -> None:
        """Neither read nor write this side."""
        self.guard(self._freeze, side)

    def _freeze(self, side: Side) -> None:
        self.legs.freeze(side)
        self.await_death(side)

    def thaw(self, side: Side) -> None:
        """Go on where `freeze` stopped."""
        self.stop_timer(f"frozen-{side.value}")
        self.guard(self.legs.thaw, side)

    def link_down(self) -> None:
        """The host's link went down."""
        self.guard(self.take, LinkWentDown(self.now_s()))

    def await_death(self, side: Side) -> None:
        """Report a frozen side dead when its probes are up. The relay does not read it, so no read reports that."""
        silence_s = self.legs.silence_s(side)
        if silence_s is not None:
            self.start_nat_timer(f"frozen-{side.value}", silence_s, partial(self._time_out, self.legs[side]))

    def _time_out(self, leg: Leg) -> None:
        if not leg.closed:
            leg.broken = leg.broken or errno.ETIMEDOUT
            self.report_broken(leg)

    # The machine answers

    def take(self, event: Event) -> None:
        """Do what the behaviours make of an event, now or after the one that is being answered."""
        if self._answering:
            self._waiting += (event,)
            return
        self._answering = True
        try:
            self._answer(event)
            while self._waiting:
                event, *rest = self._waiting
                self._waiting = tuple(rest)
                self._answer(event)
        finally:
            self._answering, self._waiting = False, ()

    def _answer(self, event: Event) -> None:
        if self.driver.log.wanted:
            self.log.write_event(event)
        self._perform(self.machine.handle(event))

    def _perform(self, steps: list[Step]) -> None:
        for action, because in steps:
            PERFORMERS[type(action)](self, action, because)
        if self.machine.endings:
            self._follow_endings()

    def _follow_endings(self) -> None:
        if self.machine.over:
            self.finish()
            return
        if isinstance(self.phase, Carrying):
            self.phase.drop_what_cannot_go()
        if self.machine.fading and not self.has_timer("linger"):
            self.start_timer("linger", LINGER_S, partial(self.give_up, Cause.LINGER))

    # Ending

    def give_up(self, because: str, *, in_order: bool = False) -> None:
        """End whatever is not over yet: by RST or, in order, by FIN."""
        self._perform(self.machine.end(because, in_order=in_order))
        self.finish()

    def break_off(self, fault: Exception) -> None:
        """End the flow because something in it broke."""
        culprit = f"{Cause.FAULT}:{fault.behaviour}" if isinstance(fault, BehaviourError) else Cause.FAULT
        self.log.write_fault(fault)
        show_traceback(fault)
        self.machine.cause = culprit  # whatever had begun to end it before
        self.give_up(culprit)

    def end_exchange(self, error: ProtocolError) -> None:
        """End the flow because what passes breaks its protocol."""
        self.initiator_leg.write(error.reply)
        self.log.write("fault", error=str(error), traceback=None)
        self.give_up(Cause.PROTOCOL_ERROR, in_order=True)

    def finish(self) -> None:
        """End the flow: nothing more happens. Harmless when repeated."""
        phase = self.phase
        if phase is OVER:
            return
        self.phase = OVER
        self.driver.forget(self)
        self.stop_timers()
        self.idleness = self.saw_data = None  # they hold this flow
        self.driver.slots.release(self)
        self.legs.unwatch(Side.INTERNAL)
        phase.leave()
        self.legs.wind_down(self.machine.endings)
        carried = phase.carried_bytes() if isinstance(phase, Carrying) else (0, 0)
        self.driver.take_ending(self.machine, *carried, self.forward)
        if (self.destination is not None or self.machine.endings) and self.log.wanted:
            destination = str(self.destination) if self.destination is not None else None
            self.log.write_ending(self.machine, destination, carried)
        self.log.carrying = None  # they hold each other

    # What the flow is for

    @property
    def pending(self) -> PendingConnection:
        """The connection that waits for its answer."""
        assert self._pending is not None, "not asked for yet, or answered"  # noqa: S101
        return self._pending

    def send_words_through(self, leg: Leg) -> None:
        """Have the initiator's answers, as far as any are to come, go through this leg, too."""
        if self._pending is not None:
            self._pending.send_through(leg)

    @property
    def dialling(self) -> Dialling:
        """The phase, where it is certain to be this one."""
        assert isinstance(self.phase, Dialling), "only a machine that dials asks for this"  # noqa: S101
        return self.phase

    @property
    def initiator_leg(self) -> Leg:
        return self.legs[self.initiator]

    @property
    def client(self) -> str:
        """The initiator's address, for the log; empty without one."""
        if not self.log.wanted:
            return ""
        return str(self.initiator_leg.peer or "a client that is gone")

    def client_end(self) -> Endpoint | None:
        """The initiator's address; None if it is gone."""
        return self.initiator_leg.peer

    @property
    def carried_bytes(self) -> tuple[int, int]:
        """How many bytes it has passed on, out and in."""
        return self.phase.carried_bytes() if isinstance(self.phase, Carrying) else (0, 0)

    @property
    def moved_bytes(self) -> int | None:
        """How many bytes it has carried, either way; None while, or if, it carries nothing."""
        return sum(map(self.phase.moved_bytes, Side)) if isinstance(self.phase, Carrying) else None

    @property
    def waiting_bytes(self) -> int:
        """How many of them are on their way still: neither side's peer has acknowledged them."""
        return sum(leg.unacked_bytes() for leg in self.legs if not leg.closed)

    # Time

    def start_behaviours_timer(self, name: str, after_s: float) -> None:
        """Give the machine a `TimerFired` in `after_s` seconds of the NAT's clock."""
        self.start_nat_timer(name, after_s, lambda: self.take(TimerFired(self.now_s(), name)))

    def watch_idle(self, name: str, action: WatchIdle) -> None:
        """Tell the machine when there was no traffic for so long."""
        if self.idleness is None:
            self.idleness = Idleness(self, self.saw_data)
            self.saw_data = self.idleness.saw_data
        if action.counts == "segments" and not self.idleness.listens:
            self.idleness.listens = True
            self.legs[Side.EXTERNAL].watch(_SEGMENTS, self)
        self.idleness.watch(name, action)

    def count_requests(self) -> None:
        """Tell the machine of each request from now on."""
        if not self._counts_requests:
            self._counts_requests = True
            self.saw_data = Requests(self, self.saw_data).saw_data
