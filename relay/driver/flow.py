"""One flow: turns what its legs do into events, and carries out what the machine makes of them.

A flow passes through these phases, each an object that holds what exists in it alone:

    Handshaking   the initiator says what it wants (a front end's conversation)
    Recognising   a behaviour's condition names the app's process, which is being found out
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
from functools import partial
from typing import ClassVar

from relay.causes import Cause
from relay.debug import show_traceback
from relay.driver.associating import Associating
from relay.driver.binding import Binding
from relay.driver.carrying import Carrying
from relay.driver.dialling import Dialling
from relay.driver.flow_state import FlowState
from relay.driver.handshaking import HANDSHAKE, Handshaking
from relay.driver.performing import PERFORMERS
from relay.driver.phase import OVER
from relay.driver.recognising import Recognising
from relay.driver.resolving import Resolving
from relay.driver.shaping import drop_old_shapes
from relay.errors import BehaviourError, ProtocolError, RelayBug
from relay.events import Event, LimitReached, LinkWentDown, ProbeAnswered, ProbeArrived, Side, SlotTaken
from relay.frontends import Conversation, PendingConnection
from relay.legs import Leg
from relay.legs.in_front import LegInFront
from relay.machine import FlowMachine, Step
from relay.protocols import Associate, Bind, Resolve

LINGER_S = 60.0
"""How long a side has to end once the other is over, or neither sends any more. Linux keeps FIN_WAIT2 as long."""


class Flow(FlowState):
    """One flow; see the module for its phases."""

    __slots__ = ()

    carrying_kind: ClassVar[type[Carrying]] = Carrying
    """The phase in which both legs are there."""
    suffers_faults: ClassVar[bool] = True
    """Whether the faults of commands are for it."""

    # Beginning

    def start(self, leg: Leg, conversation: Conversation) -> None:
        """Begin with a connection whose initiator has yet to make its request."""
        handshaking = self.phase = Handshaking(self, leg, conversation)
        try:  # as `guard` does
            self.take_over(leg)
            handshaking.begin()
        except Exception as fault:
            self.break_off(fault)

    def start_pending(self, pending: PendingConnection) -> None:
        """Begin with a connection that was asked for."""
        try:
            self.take_over(pending.leg)
            self.dial(pending)
        except Exception as fault:
            self.break_off(fault)

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
            recognising = self.phase = Recognising(self, pending)
            recognising.begin()
        else:
            self.begin_dialling(pending)

    def begin_dialling(self, pending: PendingConnection) -> None:
        """It is known which behaviours it has."""
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

    def send_words_through(self, leg: Leg) -> None:
        """Have the initiator's answers, as far as any are to come, go through this leg, too."""
        if self._pending is not None:
            self._pending.send_through(leg)

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
        if self._waiting is not None:
            self._waiting += (partial(self._answer, event),)
            return
        self._waiting = ()
        try:
            self._answer(event)
            while self._waiting:
                go_on, *rest = self._waiting
                self._waiting = tuple(rest)
                go_on()
        finally:
            self._waiting = None

    def _answer(self, event: Event) -> None:
        if self.phase is OVER:
            return
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
        """End whatever is not over yet, by RST or, in order, by FIN: now, or after the event that is being answered."""
        if self._waiting is not None:  # a listener of the event log has it ended
            self._waiting += (partial(self._end_now, because, in_order=in_order),)
            return
        self._waiting = ()  # the end leaves nothing to do of what such a listener asks for meanwhile
        try:
            self._end_now(because, in_order=in_order)
        finally:
            self._waiting = None

    def _end_now(self, because: str, *, in_order: bool) -> None:
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
        received = phase.received_bytes() if isinstance(phase, Carrying) else (0, 0)
        self.driver.take_ending(self.machine, carried, received, self.forward)
        if (self.destination is not None or self.machine.endings) and self.log.wanted:
            destination = str(self.destination) if self.destination is not None else None
            self.log.write_ending(self.machine, destination, carried)
        self.log.carrying = None  # they hold each other
