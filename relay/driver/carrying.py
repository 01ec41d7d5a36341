"""The phase in which two pumps move bytes, and every FIN, RST and change that is seen goes to the machine."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from relay.driver.carrier import Carrier, ExchangeCarrier
from relay.driver.handshaking import HANDSHAKE, limit_handshake
from relay.errors import ProtocolError
from relay.events import FinReceived, Side
from relay.frontends import PendingConnection
from relay.legs import Leg
from relay.net.pump import Outcome

if TYPE_CHECKING:
    from relay.driver.flow import Flow

_SIDES = tuple(Side)  # going through an enum itself costs a generator
_WAITING = Outcome.WAITING


class Carrying:
    """Runs the pumps whenever a leg is ready; see `relay.driver.phase.Phase`."""

    __slots__ = ("_carrier", "_flow", "_scheduled")
    carrier_kind: ClassVar[type[Carrier]] = Carrier

    def __init__(self, flow: Flow, pending: PendingConnection) -> None:
        """Set up the pumps.

        Raises:
            ProtocolError: what came with the request is not what the codec takes.
        """
        self._flow = flow
        near, far, codec = flow.legs[pending.initiator], flow.legs[pending.initiator.other], pending.codec
        self._carrier = self.carrier_kind(near, far) if codec is None else ExchangeCarrier(near, far, codec)
        self._scheduled = False

    def begin(self, early: bytes) -> None:
        """Begin with the early data: what the initiator sent before it was connected."""
        if self._flow.machine.endings:
            self.drop_what_cannot_go()
        if early:
            self._carrier.from_near.hand_on(early)
        if (saw_data := self._flow.saw_data) is not None and self._carrier.from_near.moved_bytes:
            saw_data(self._flow.initiator)
            if self._flow.phase is not self:
                return
        self.on_leg_ready()

    def on_leg_ready(self) -> None:
        flow, carrier = self._flow, self._carrier
        saw_data = flow.saw_data
        try:
            for pump in (carrier.from_near, carrier.from_far):
                moved_bytes = pump.moved_bytes
                outcome = carrier.run(pump)
                if saw_data is not None and pump.moved_bytes != moved_bytes:
                    saw_data(pump.source.side)
                    if flow.phase is not self:
                        return
                if outcome is not _WAITING:
                    self._follow_up(pump.source, outcome)
                    if flow.phase is not self:
                        return
        except ProtocolError as error:
            flow.end_exchange(error)
            return
        if isinstance(carrier, ExchangeCarrier):
            self._limit_head(carrier)

    def send_through(self, leg: Leg) -> None:
        """Have what goes to this leg's side go through this one from now on."""
        self._carrier.send_through(leg)

    def leave(self) -> None:
        self._carrier.over = True

    def moved_bytes(self, side: Side) -> int:
        """How many bytes have come from this side."""
        return self._carrier.moved_bytes(side)

    def carried_bytes(self) -> tuple[int, int]:
        """How many bytes were passed on, out (from the internal side to the external) and in."""
        return self._carrier.carried_bytes()

    def received_bytes(self) -> tuple[int, int]:
        """How many bytes have come, out and in, whatever becomes of them."""
        return self._carrier.received_bytes()

    def empty(self, side: Side) -> None:
        """Hand on, now, all that this side has sent so far."""
        self._carrier.empty(side)

    def drop_what_cannot_go(self) -> None:
        """Read on from a side whose bytes the other takes no more, and drop them."""
        machine = self._flow.machine
        for side in _SIDES:
            if not machine.can_send(side):
                self._carrier.stop_sending_to(side)

    def _follow_up(self, leg: Leg, outcome: Outcome) -> None:
        flow = self._flow
        match outcome:
            case Outcome.SPENT:
                self._schedule()
            case Outcome.FINISHED:
                flow.take(FinReceived(flow.now_s(), leg.side))
            case Outcome.BROKEN if not flow.machine.is_over(leg.side):
                flow.report_broken(leg)
            case Outcome.REDIRECTED:
                self._hand_over()
            case _:
                pass

    def _hand_over(self) -> None:
        flow = self._flow
        if isinstance(self._carrier, ExchangeCarrier) and self._carrier.origin_ended:
            flow.machine.observe(FinReceived(flow.now_s(), flow.initiator.other))
        flow.hand_over()

    def _schedule(self) -> None:
        if not self._scheduled:
            self._scheduled = True
            self._flow.driver.engine.call_soon(self._resume)

    def _resume(self) -> None:
        self._scheduled = False
        if self._flow.phase is self:
            self._flow.guard(self.on_leg_ready)

    def _limit_head(self, carrier: ExchangeCarrier) -> None:
        """Apply the handshake's limit to every request's head, but not to the time between two of them."""
        if not carrier.within_head:
            self._flow.stop_timer(HANDSHAKE)
        elif not self._flow.has_timer(HANDSHAKE):
            limit_handshake(self._flow)
