"""The two pumps between a flow's legs, once both are there.

`run` moves what can be moved by one of them and returns what the flow must know: why the pump stopped.

`ExchangeCarrier` is plain HTTP's: its codec rewrites what passes and finds where a message ends. So it does not simply
carry a FIN over:

* the client's FIN goes to the origin when the last request has been passed on;
* the origin's FIN goes to the client only if every request was answered: else another connection serves the client.
"""

from __future__ import annotations

from typing import ClassVar

from relay.events import Side
from relay.legs import Leg
from relay.legs.in_front import last_leg
from relay.legs.outbox import Outbox
from relay.net.pump import Outcome, Pump, TranslatingPump
from relay.protocols import HttpExchange

_WAITING, _FINISHED, _BROKEN = Outcome.WAITING, Outcome.FINISHED, Outcome.BROKEN


class Carrier:
    """Carries bytes as they are between the initiator's leg (near) and the other (far)."""

    __slots__ = ("_outboxes", "from_far", "from_near", "over")
    pump_kind: ClassVar[type[Pump]] = Pump

    def __init__(self, near: Leg, far: Leg) -> None:
        self.from_near = self.pump_kind(last_leg(near), far)  # what stands in front of a leg is for what is sent
        self.from_far = self.pump_kind(last_leg(far), near)
        self._outboxes: tuple[Outbox, ...] = ()
        if near is not self.from_near.source or far is not self.from_far.source:
            self._outboxes = tuple(leg for leg in (near, far) if isinstance(leg, Outbox))
        self.over = False
        """Whether nothing more will be carried: what an outbox has still to send then counts as sent."""

    def run(self, pump: Pump) -> Outcome:
        """Move what one of the pumps can move now; return why it stopped.

        Raises:
            ProtocolError: the codec does not take what passes; the initiator gets the reply.
        """
        if pump.ended:
            return _after_fin(pump.source)
        outcome = pump.run()
        if outcome is _FINISHED or outcome is _BROKEN:
            pump.ended = True
        return outcome

    def empty(self, side: Side) -> None:
        """Hand on everything that this side has sent so far, at once."""
        pump = self._pump_from(side)
        if not pump.ended:
            pump.run_dry()

    def stop_sending_to(self, side: Side) -> None:
        """Read on, but drop what is for this side."""
        self._pump_from(side.other).sink = None

    def send_through(self, leg: Leg) -> None:
        """Have what goes to this leg's side go through this one."""
        if isinstance(leg, Outbox):
            self._outboxes += (leg,)
        pump = self._pump_from(leg.side.other)
        if pump.sink is not None:
            pump.sink = leg

    def moved_bytes(self, side: Side) -> int:
        """How many bytes have come from this side."""
        return self._pump_from(side).moved_bytes

    def carried_bytes(self) -> tuple[int, int]:
        """How many bytes were passed on, out and in: without those of a request that another origin gets.

        What waits in an outbox is not passed on yet, and what an outbox has dropped never is.
        """
        return self._out_and_in(self.from_near.moved_bytes, self.from_far.moved_bytes)

    def received_bytes(self) -> tuple[int, int]:
        """How many bytes have come, out and in, whatever becomes of them."""
        return self._turned(self.from_near.moved_bytes, self.from_far.moved_bytes)

    def _pump_from(self, side: Side) -> Pump:
        return self.from_near if self.from_near.source.side is side else self.from_far

    def _out_and_in(self, from_near: int, from_far: int) -> tuple[int, int]:
        for outbox in self._outboxes:
            kept_bytes = outbox.stranded_bytes if self.over else outbox.withheld_bytes
            if outbox.side is self.from_near.source.side:
                from_far = max(0, from_far - kept_bytes)
            else:
                from_near = max(0, from_near - kept_bytes)
        return self._turned(from_near, from_far)

    def _turned(self, from_near: int, from_far: int) -> tuple[int, int]:
        return (from_near, from_far) if self.from_near.source.side is Side.INTERNAL else (from_far, from_near)


class ExchangeCarrier(Carrier):
    """Carries one client's plain HTTP requests to one origin, and the responses back."""

    __slots__ = ("_client_ended", "_codec", "_was_paused", "origin_ended")

    from_near: TranslatingPump
    from_far: TranslatingPump

    def __init__(self, near: Leg, far: Leg, codec: HttpExchange) -> None:
        super().__init__(near, far)
        self.from_near = TranslatingPump(last_leg(near), far, codec.from_client, lambda: codec.behind_client)
        self.from_far = TranslatingPump(last_leg(far), near, codec.from_origin, lambda: codec.behind_origin)
        self._codec = codec
        self._client_ended = False
        self.origin_ended = False
        """Whether the origin has sent its FIN. It goes to the client only if it also ends the response."""
        self._was_paused = False
        request = codec.start()
        self.from_near.moved_bytes = len(request)
        self.from_near.put(request)

    def carried_bytes(self) -> tuple[int, int]:
        return self._out_and_in(self.from_near.written_bytes, self.from_far.written_bytes)

    def received_bytes(self) -> tuple[int, int]:
        return self._turned(self.from_near.written_bytes, self.from_far.written_bytes)

    @property
    def within_head(self) -> bool:
        """Whether the client has begun a request, and the rest of its head is missing."""
        return self._codec.within_head

    def run(self, pump: Pump) -> Outcome:
        if pump.ended:
            return _after_fin(pump.source)
        outcome = self._run(pump)
        if outcome is _FINISHED or outcome is _BROKEN:
            pump.ended = True
        return outcome

    def _run(self, pump: Pump) -> Outcome:
        outcome = self._run_from_client() if pump is self.from_near else self._run_from_origin()
        if self._codec.next_destination is not None:
            return Outcome.REDIRECTED
        # The other pump has had its turn. It has more to do now, and no edge will come for that.
        left = pump is self.from_far and not self.from_near.ended and self.from_near.can_go_on()
        return Outcome.SPENT if left and outcome is _WAITING else outcome

    def _run_from_client(self) -> Outcome:
        self._was_paused = self._codec.paused
        if self._was_paused:
            return _WAITING
        if not self._client_ended or self.from_near.can_go_on():
            outcome = self.from_near.run()
            if outcome is not _FINISHED:
                return outcome
            if not self._client_ended:
                self._client_ended = True
                self.from_near.put(self._codec.client_eof())
        return _FINISHED if self._codec.origin_done else _after_fin(self.from_near.source)

    def _run_from_origin(self) -> Outcome:
        moved_bytes, was_behind = self.from_far.moved_bytes, self._codec.behind_origin
        outcome = self.from_far.run()
        if self.from_far.sink is None:
            return outcome  # the client is gone: the codec's end of the response has no receiver
        if outcome is _FINISHED and not self.origin_ended:
            self.origin_ended = True
            self.from_far.put(self._codec.origin_eof())
        if self.origin_ended or was_behind or self.from_far.moved_bytes > moved_bytes:
            # A pipelined request has waited for the response that may just have ended.
            self.from_near.put(self._codec.from_client(b""))
        if outcome is _BROKEN:
            return outcome
        if self._codec.wants_close or (self.origin_ended and self._client_ended):
            return _FINISHED
        if self.origin_ended:
            return _WAITING
        return Outcome.SPENT if self._client_may_go_on() and outcome is _WAITING else outcome

    def _client_may_go_on(self) -> bool:
        """Whether the origin's bytes gave the client's pump work to do, for which no edge will come."""
        if self.from_near.ended:
            return False
        return (self._client_ended and self._codec.origin_done) or (self._was_paused and not self._codec.paused)


def _after_fin(source: Leg) -> Outcome:
    """The state of a side that has sent its FIN: it may still reset, which a read does not report."""
    return _BROKEN if not source.closed and source.find_broken() else _WAITING
