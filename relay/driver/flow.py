"""One flow: turns what its sockets do into events, and the flow machine's answers into what its sockets do.

A flow passes through these phases:

    TALKING    its opener says what it wants (a front end's conversation)
    ASKED      that was no connection, only the answer to a question; with it the flow is over
    DIALLING   the behaviours were asked; what the opener sends meanwhile is kept
    CARRYING   two pumps move bytes, and every FIN, RST and fact goes to the machine
    OVER       nothing more happens; a leg may still be flushing, or playing deaf

Nothing here knows any behaviour. A fault, a behaviour's or our own, ends this flow and no other.
"""

from __future__ import annotations

import enum
import errno
from collections.abc import Callable
from functools import partial, wraps
from typing import TYPE_CHECKING, Any, Concatenate, ParamSpec

from relay.actions import (
    AbandonDial,
    Action,
    Dial,
    Grant,
    Note,
    Refuse,
    ReportLoss,
    SendProbes,
    SendRst,
    StartTimer,
)
from relay.address import Endpoint
from relay.driver.carrier import Carrier, ExchangeCarrier
from relay.driver.chance import Chance
from relay.driver.journal import Journal
from relay.driver.legs import FlowLegs
from relay.driver.opening import Opening
from relay.errors import BehaviourError, ConfigError, ProtocolError
from relay.events import (
    ConnectRequested,
    DialFailed,
    DialFailure,
    DialSucceeded,
    Event,
    FinReceived,
    LinkWentDown,
    OpenerVanished,
    Side,
    TimerFired,
)
from relay.flow import FlowMachine, Step
from relay.frontends import Conversation
from relay.legs import BROKEN, Leg
from relay.net.connect import Connecting
from relay.net.pump import Outcome
from relay.net.question import Question
from relay.net.timers import Timer
from relay.protocols import Resolve

if TYPE_CHECKING:
    from relay.driver import Driver

LINGER_S = 60.0
"""How long a side has to end once the other is over, or neither sends any more. Linux keeps FIN_WAIT2 as long."""

_SIDES = tuple(Side)  # going through an enum itself costs a generator

_Args = ParamSpec("_Args")


def _guarded(
    method: Callable[Concatenate[Flow, _Args], None],
) -> Callable[Concatenate[Flow, _Args], None]:
    """Wrap what others call: whatever it raises ends the flow, and stops here."""

    @wraps(method)
    def guarded(flow: Flow, /, *args: _Args.args, **kwargs: _Args.kwargs) -> None:
        try:
            method(flow, *args, **kwargs)
        except Exception as fault:
            flow.break_off(fault)

    return guarded


class _Phase(enum.Enum):
    TALKING = enum.auto()
    ASKED = enum.auto()
    DIALLING = enum.auto()
    CARRYING = enum.auto()
    OVER = enum.auto()


class Flow:
    """One flow. Owns its legs; see the module for its phases."""

    __slots__ = (
        "_carrier",
        "_connecting",
        "_conversation",
        "_driver",
        "_journal",
        "_legs",
        "_machine",
        "_opening",
        "_phase",
        "_scheduled",
        "_timers",
        "number",
    )

    def __init__(self, driver: Driver, number: int, conversation: Conversation) -> None:
        self.number = number
        self._driver = driver
        self._conversation = conversation
        self._journal = Journal(driver.log, number, driver.engine.now_s())
        lineup = driver.profile.lineup
        chance = Chance(self._journal, driver.seed, number - driver.flows_before_seed) if lineup.draws else None
        self._machine = FlowMachine(lineup, conversation.opener, chance.give_to if chance is not None else None)
        self._phase = _Phase.TALKING
        self._opening: Opening
        self._legs = FlowLegs(driver.engine, self._journal, driver.limits.time_scale)
        self._carrier: Carrier | None = None
        self._connecting: Connecting | Question | None = None
        self._timers: dict[str, Timer] | None = None  # most idle flows have none
        self._scheduled = False

    # Beginning

    @_guarded
    def start(self, leg: Leg) -> None:
        """Begin with a connection that was just accepted."""
        self._take_over(leg)
        self._opening = Opening(self._driver.engine.buffer, leg, self._conversation)
        if self._conversation.request is not None:
            self._request()
        else:
            self._limit_handshake()

    @_guarded
    def inherit(self, leg: Leg) -> None:
        """Begin with an opener that had another flow before, and has its request ready."""
        self._take_over(leg)
        self._opening = Opening(self._driver.engine.buffer, leg, self._conversation)
        self._request()

    def _take_over(self, leg: Leg) -> None:
        leg.owner = self
        self._legs.add(leg)
        if leg.side is Side.INTERNAL:
            self._driver.name_owner(self._journal, leg)
            leg.watch(self._driver.profile.wants, self.on_leg_saw)
        if leg.side in self._driver.frozen:
            self._legs.freeze(leg.side)

    # The legs call

    @_guarded
    def on_leg_saw(self, event: Event, withheld: bool) -> None:
        """The internal leg has seen something; a segment that was withheld comes after all that came before it."""
        if withheld:
            self._empty_internal()
        self.take(event)

    @_guarded
    def on_leg_ready(self, leg: Leg) -> None:
        self._advance()

    def _advance(self) -> None:
        match self._phase:
            case _Phase.TALKING:
                self._talk()
            case _Phase.ASKED:
                self._notice_leaving()
            case _Phase.DIALLING:
                self._keep_early_data()
            case _Phase.CARRYING:
                self._carry()
            case _Phase.OVER:
                pass

    def _talk(self) -> None:
        reason = self._opening.talk()
        if self._phase is not _Phase.TALKING:
            return
        if reason is not None:
            self._turn_away(reason)
        elif self._conversation.question is not None:
            self._ask(self._conversation.question)
        elif self._conversation.request is not None:
            self._request()

    def _limit_handshake(self) -> None:
        limit_s = self._driver.limits.handshake_timeout_s
        self._start_timer("handshake", limit_s, partial(self._lose_patience, limit_s))

    def _lose_patience(self, limit_s: float) -> None:
        self._turn_away(f"no request within {limit_s:g} s", because="handshake-limit")

    def _turn_away(self, reason: str, because: str = "") -> None:
        self._journal.write("handshake-failed", client=self._client(), reason=reason)
        if not self._driver.lets_linger(self._opener_leg):
            self._opener_leg.reset()
        self._finish(because)

    def _request(self) -> None:
        self._stop_timer("handshake")
        self._phase = _Phase.DIALLING
        self._opening.early += self._conversation.early_data
        self._journal.write(
            "flow-opened", via=self._conversation.via, client=self._client(), destination=str(self._destination)
        )
        self.take(ConnectRequested(self.now_s(), self._destination, self._conversation.opener))
        if self._phase is _Phase.DIALLING and not (self._connecting or self._timers or self._machine.answered):
            raise ConfigError("nothing in the profile opens connections; is precomplete-handshake disabled?")
        if self._phase is _Phase.DIALLING:
            self._keep_early_data()

    # Answering a question

    def _ask(self, question: Resolve) -> None:
        self._stop_timer("handshake")
        self._phase = _Phase.ASKED
        self._connecting = Question(
            self._driver.engine,
            self._driver.connector,
            question.host,
            partial(self._on_answer, question.host),
            client=self._client_address(),
            reverse=question.reverse,
        )

    @_guarded
    def _on_answer(self, name: str, answer: str | DialFailure) -> None:
        self._connecting = None
        client = self._client()
        match answer:
            case DialFailure(kind=kind):
                self._journal.write("name-resolved", client=client, name=name, answer=None, failure=kind.value)
                self._refuse(answer)
            case _:
                self._journal.write("name-resolved", client=client, name=name, answer=answer, failure=None)
                self._opener_leg.write(self._conversation.grant(Endpoint(answer, 0)))
        self._finish()

    def _notice_leaving(self) -> None:
        # One read finds a RST; a FIN is no more than the end of input, and what else comes may wait.
        leg = self._opener_leg
        if leg.readable and not leg.frozen and leg.receive_into(self._driver.engine.buffer) == BROKEN:
            self._finish()

    # Dialling

    def _keep_early_data(self) -> None:
        opener = self._conversation.opener
        if not self._machine.is_over(opener) and not self._opening.keep_early_data():
            self.take(OpenerVanished(self.now_s()))

    def _dial(self) -> None:
        self._connecting = self._driver.connector.connect(
            self._destination,
            self._conversation.opener.other,
            partial(self._on_connected, self.now_s()),
            self._on_dial_failed,
            self._client_address,
        )

    @_guarded
    def _on_connected(self, began_s: float, leg: Leg, address: Endpoint) -> None:
        self._connecting = None
        self._journal.write("flow-connected", address=str(address), dial_s=round(self.now_s() - began_s, 6))
        self._take_over(leg)
        self.take(DialSucceeded(self.now_s()))
        if self._phase is _Phase.DIALLING:
            self._begin_to_carry()

    @_guarded
    def _on_dial_failed(self, failure: DialFailure) -> None:
        self._connecting = None
        self._journal.write("dial-failed", failure=failure.kind.value, detail=failure.detail)
        self.take(DialFailed(self.now_s(), failure))

    # Carrying

    def _begin_to_carry(self) -> None:
        self._phase = _Phase.CARRYING
        near, far = self._opener_leg, self._legs[self._conversation.opener.other]
        codec = self._conversation.codec
        try:
            self._carrier = Carrier(near, far) if codec is None else ExchangeCarrier(near, far, codec)
        except ProtocolError as error:
            self._end_exchange(error)
            return
        self._drop_what_cannot_go()
        if self._opening.early:
            self._carrier.from_near.hand_on(bytes(self._opening.early))
        del self._opening  # of no more use: an idle flow is to be small
        if self._machine.answered and codec is None:
            self._conversation.forget_words()
        self._carry()

    def _carry(self) -> None:
        assert self._carrier is not None  # noqa: S101 - CARRYING began with making it
        try:
            for leg, outcome in self._carrier.run():
                self._heed(leg, outcome)
                if self._phase is not _Phase.CARRYING:
                    return
        except ProtocolError as error:
            self._end_exchange(error)
            return
        if isinstance(self._carrier, ExchangeCarrier):
            self._limit_head(self._carrier)

    def _limit_head(self, carrier: ExchangeCarrier) -> None:
        """The limit of a handshake holds for every request's head, but not for the time between two of them."""
        if not carrier.within_head:
            self._stop_timer("handshake")
        elif "handshake" not in (self._timers or ()):
            self._limit_handshake()

    def _end_exchange(self, error: ProtocolError) -> None:
        self._opener_leg.write(error.reply)
        self._journal.write("fault", error=str(error))
        self._finish("protocol-error")

    def _heed(self, leg: Leg, outcome: Outcome) -> None:
        match outcome:
            case Outcome.SPENT:
                self._schedule()
            case Outcome.FINISHED:
                self.take(FinReceived(self.now_s(), leg.side))
            case Outcome.BROKEN if not self._machine.is_over(leg.side):
                self._report_broken(leg)
            case Outcome.REDIRECTED:
                self._hand_over()
            case _:
                pass

    def _hand_over(self) -> None:
        """The opener's next request is for another server: this flow ends in order, and another goes on."""
        near = self._legs.give_away(self._conversation.opener)
        near.watch((), self.on_leg_saw)  # the next flow may mind other things, or nothing
        self._finish("next-request")
        self._conversation.redirect()
        self._driver.go_on(near, self._conversation)

    def _schedule(self) -> None:
        if not self._scheduled:
            self._scheduled = True
            self._driver.engine.call_soon(self._resume)

    @_guarded
    def _resume(self) -> None:
        self._scheduled = False
        self._advance()

    def _report_broken(self, leg: Leg) -> None:
        self.take(self._legs.what_broke(leg, self.now_s()))

    def _empty_internal(self) -> None:
        """Hand on, now, whatever the internal side has sent so far."""
        if self._carrier is not None:
            self._carrier.empty(Side.INTERNAL)

    @property
    def moved_bytes(self) -> int | None:
        """How many bytes it has carried, either way; None while, or if, it carries nothing."""
        return sum(map(self._carrier.moved_bytes, Side)) if self._carrier is not None else None

    @property
    def waiting_bytes(self) -> int:
        """How many of them are on their way still: neither side's peer has acknowledged them."""
        return sum(leg.unacked_bytes() for leg in self._legs if not leg.closed)

    @_guarded
    def freeze(self, side: Side) -> None:
        """Neither read nor write this side."""
        self._freeze(side)

    @_guarded
    def thaw(self, side: Side) -> None:
        """Go on where `freeze` stopped."""
        self._stop_timer(f"frozen-{side.value}")
        self._legs.thaw(side)

    @_guarded
    def link_down(self) -> None:
        """The host's link went down."""
        self.take(LinkWentDown(self.now_s()))

    # The machine answers

    def take(self, event: Event) -> None:
        """Do what the behaviours make of an event."""
        self._journal.write_event(event)
        self._perform(self._machine.handle(event))

    def _perform(self, steps: list[Step]) -> None:
        for action, because in steps:
            match action:
                case Dial():
                    self._dial()
                case AbandonDial():
                    self._journal.write("dial-abandoned", because=because)
                    self._abandon_dial()
                case Grant():
                    self._opener_leg.write(self._conversation.grant(self._bound_address()))
                case Refuse(failure=failure):
                    self._refuse(failure)
                case ReportLoss(count_bytes=count_bytes):
                    self._journal.lost_bytes += count_bytes
                    self._journal.write("bytes-lost", bytes=count_bytes, because=because)
                case StartTimer(key=key, after_s=after_s):
                    name = f"{because}/{key}"
                    self._start_timer(name, after_s / self._legs.time_scale, partial(self._on_timer, name))
                case Note(text=text):
                    self._journal.write("note", text=text, because=because)
                case _:
                    self._perform_on_leg(action, because)
        if self._machine.endings:
            self._follow_endings()

    def _follow_endings(self) -> None:
        self._drop_what_cannot_go()
        if self._machine.over:
            self._finish()
        elif self._machine.fading and "linger" not in (self._timers or ()):
            self._start_timer("linger", LINGER_S, partial(self.give_up, "linger"))

    def _refuse(self, failure: DialFailure) -> None:
        words = self._conversation.refuse(failure)
        if words is None:
            self._opener_leg.reset()
        else:
            self._opener_leg.write(words)
            self._opener_leg.finish()

    def _perform_on_leg(self, action: Action, because: str) -> None:
        if isinstance(action, SendRst) and action.side is Side.INTERNAL and (leg := self._legs.get(action.side)):
            leg.unwatch()
        if not self._legs.perform(action, because):
            raise AssertionError(f"nobody performs {action}")
        if isinstance(action, SendProbes):
            self._await_death(action.side)

    def _freeze(self, side: Side) -> None:
        self._legs.freeze(side)
        self._await_death(side)

    def _await_death(self, side: Side) -> None:
        """A frozen side is not read, so that it answers no probe is ours to say."""
        silence_s = self._legs.silence_s(side)
        if silence_s is not None:
            self._start_timer(f"frozen-{side.value}", silence_s, partial(self._time_out, self._legs[side]))

    @_guarded
    def _time_out(self, leg: Leg) -> None:
        if leg.closed:
            return
        leg.broken = leg.broken or errno.ETIMEDOUT
        self._report_broken(leg)

    def _drop_what_cannot_go(self) -> None:
        if self._carrier is not None:
            for side in _SIDES:
                if not self._machine.can_send(side):
                    self._carrier.stop_sending_to(side)

    @_guarded
    def _on_timer(self, name: str) -> None:
        self.take(TimerFired(self.now_s(), name))

    # Ending

    def give_up(self, because: str) -> None:
        """Reset whatever is not over yet."""
        self._perform(self._machine.end(because))
        self._finish(because)

    def break_off(self, fault: Exception) -> None:
        """End the flow because something in it broke."""
        culprit = f"fault:{fault.behaviour}" if isinstance(fault, BehaviourError) else "fault"
        self._journal.write("fault", error=str(fault) or type(fault).__name__)
        if not isinstance(fault, BehaviourError):
            self._driver.engine.on_fault(fault)
        self._machine.cause = culprit  # whatever had begun to end it before
        self.give_up(culprit)

    def _finish(self, because: str = "") -> None:
        if self._phase is _Phase.OVER:
            return
        asked = self._phase not in {_Phase.TALKING, _Phase.ASKED}
        self._phase = _Phase.OVER
        self._driver.forget(self)
        for timer in (self._timers or {}).values():
            timer.cancel()
        self._timers = None
        if (internal := self._legs.get(Side.INTERNAL)) is not None:
            internal.unwatch()
        self._abandon_dial()
        self._legs.wind_down(self._machine.endings)
        if (asked or self._machine.endings) and self._journal.wanted:
            moved = {side: self._carrier.moved_bytes(side) for side in Side} if self._carrier is not None else {}
            self._journal.write_ending(
                self._machine, because or self._machine.cause, str(self._conversation.request), moved, self.now_s()
            )

    def _abandon_dial(self) -> None:
        if self._connecting is not None:
            self._connecting.abandon()
            self._connecting = None

    # Odds and ends

    @property
    def _opener_leg(self) -> Leg:
        return self._legs[self._conversation.opener]

    @property
    def _destination(self) -> Endpoint:
        destination = self._conversation.request
        assert destination is not None  # noqa: S101 - the phases after TALKING have one
        return destination

    def _bound_address(self) -> Endpoint | None:
        far = self._legs.get(self._conversation.opener.other)
        return far.local if far is not None else None

    def _client(self) -> str:
        if not self._journal.wanted:
            return ""
        return str(self._opener_leg.peer or "a client that is gone")

    def _client_address(self) -> str:
        peer = self._opener_leg.peer
        return peer.host if peer is not None else ""  # all that are gone are one client

    def now_s(self) -> float:
        return self._driver.engine.now_s()

    def _start_timer(self, key: str, after_s: float, callback: Callable[[], Any]) -> None:
        self._stop_timer(key)
        if self._timers is None:
            self._timers = {}
        self._timers[key] = self._driver.engine.call_later(after_s, callback)

    def _stop_timer(self, key: str) -> None:
        if self._timers is not None and (timer := self._timers.pop(key, None)) is not None:
            timer.cancel()
            self._timers = self._timers or None
