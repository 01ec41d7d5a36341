"""The phase in which the behaviours are asked, and the destination is dialled if one of them yields `Dial`.

What the initiator sends meanwhile is kept for the destination, up to `EARLY_BYTES`; then its window closes.
"""

from __future__ import annotations

import errno
from typing import TYPE_CHECKING

from relay.address import Endpoint
from relay.causes import Cause
from relay.errors import ConfigError
from relay.events import ConnectRequested, DialFailed, DialFailure, DialSucceeded, InitiatorSent, InitiatorVanished
from relay.frontends import Dial, PendingConnection
from relay.legs import BROKEN, Leg

if TYPE_CHECKING:
    from relay.driver.flow import Flow

EARLY_BYTES = 64 * 1024
_DELAY = "dial"  # no behaviour's timer has a name without a slash


class Dialling:
    """Waits for the dial, and for what the behaviours make of it; see `relay.driver.phase.Phase`."""

    __slots__ = ("_began_s", "_connecting", "_delay_s", "_early", "_flow", "_has_dialled", "_has_sent", "_pending")

    def __init__(self, flow: Flow, pending: PendingConnection) -> None:
        self._flow = flow
        self._pending = pending
        self._connecting: Dial | None = None
        self._began_s = 0.0
        self._delay_s = 0.0
        self._early = bytearray(pending.early_data)
        self._has_dialled = False
        self._has_sent = bool(self._early) or pending.codec is not None

    def begin(self) -> None:
        """Ask the behaviours."""
        flow, pending = self._flow, self._pending
        if flow.log.wanted:
            flow.log.write("flow-opened", via=pending.via, client=flow.client, destination=str(pending.destination))
        flow.take(ConnectRequested(flow.now_s(), pending.destination, pending.initiator))
        if flow.phase is not self:
            return
        if not (self._connecting or flow.has_timers or flow.machine.answered or flow.machine.waits):
            raise ConfigError("nothing in the profile opens connections; is precomplete-handshake disabled?")
        self.on_leg_ready()

    def on_leg_ready(self) -> None:
        flow = self._flow
        if flow.machine.is_over(self._pending.initiator):
            return
        if self._keep_early_data():
            if self._has_sent and not (self._has_dialled or flow.machine.waits):
                self._has_dialled = True
                flow.take(InitiatorSent(flow.now_s()))
            return
        if self._pending.leg.broken == errno.ENOBUFS:
            flow.give_up(Cause.NO_ROOM)
        else:
            flow.take(InitiatorVanished(flow.now_s()))

    def leave(self) -> None:
        self.abandon()

    @property
    def has_early_data(self) -> bool:
        """Whether the initiator has sent anything."""
        return bool(self._early)

    def delay(self, by_s: float) -> None:
        """Have the dial that follows wait for `by_s` seconds of the NAT's clock."""
        self._delay_s += by_s

    def dial(self) -> None:
        """Open the connection to the destination."""
        self._has_dialled = True
        if self._delay_s:
            self._flow.start_nat_timer(_DELAY, self._delay_s, self._connect)
        else:
            self._connect()

    def _connect(self) -> None:
        flow, destination, side = self._flow, self._pending.destination, self._pending.initiator.other
        self._began_s = flow.driver.engine.now_s()
        self._connecting = flow.driver.dialler_of(destination, side).connect(
            destination,
            side,
            flow.guarded(self._on_connected),
            flow.guarded(self._on_failed),
            flow.client_end,
        )

    def abandon(self) -> None:
        """Give the dial up, if one is under way."""
        self._flow.stop_timer(_DELAY)
        if self._connecting is not None:
            self._connecting.abandon()
            self._connecting = None

    def _keep_early_data(self) -> bool:
        """Take in what the initiator sends; False if it has reset."""
        leg, early = self._pending.leg, self._early
        while leg.readable and not leg.frozen and len(early) < EARLY_BYTES:
            buffer = leg.loop.buffer[: EARLY_BYTES - len(early)]
            count = leg.receive_into(buffer)
            if count > 0:
                self._has_sent = True
                early += buffer[:count]
            elif count == BROKEN:
                return False
            elif count == 0:
                self._has_sent = True
                # A FIN ends only the initiator's input; the pump's first read finds it again. A RST behind it ends the
                # initiator, and a read does not report it.
                return not leg.find_broken()
        return True

    def _on_connected(self, leg: Leg, address: Endpoint) -> None:
        self._connecting = None
        flow = self._flow
        if flow.log.wanted:
            dial_s = round(flow.driver.engine.now_s() - self._began_s, 6)
            local = str(leg.local) if leg.local is not None else None
            flow.log.write("flow-connected", address=str(address), local=local, dial_s=dial_s)
            if flow.phase is not self:  # a listener of the log has ended it
                leg.reset()
                return
        flow.take_over(leg)
        flow.take(DialSucceeded(flow.now_s()))
        if flow.phase is self:
            flow.carry(self._pending, bytes(self._early))

    def _on_failed(self, failure: DialFailure) -> None:
        self._connecting = None
        flow = self._flow
        flow.log.write("dial-failed", failure=failure.kind.value, detail=failure.detail)
        flow.take(DialFailed(flow.now_s(), failure))
