"""A flow of datagrams: one mapping of UDP, from its first datagram to its end.

    Mapping              the machine was asked; the server's side is opened
    CarryingDatagrams    two pumps move datagrams, each with its header
    OVER                 the mapping is gone; the client's next datagram begins another flow

The machine has one rule for it, and none of the profile's quirks: those were seen of TCP. Nothing is sent at its end.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from relay.actions import Then
from relay.address import Endpoint
from relay.driver.carrier import Carrier
from relay.driver.carrying import Carrying
from relay.driver.dialling import Dialling
from relay.driver.flow import Flow
from relay.driver.legs import FlowLegs
from relay.events import DialSucceeded, Side
from relay.frontends import PendingConnection
from relay.legs import Leg
from relay.net.datagram_leg import Dropped
from relay.net.mapping import Opening, ServerLeg
from relay.net.pump import Outcome, Pump
from relay.protocols.socks5_udp import read_header

if TYPE_CHECKING:
    from relay.driver.driver import Driver

_BURST = 64  # datagrams one way, before others have their turn


class _Pump(Pump):
    """One way; what is read at once is one datagram, and is written at once."""

    __slots__ = ("payload_bytes",)

    def __init__(self, source: Leg, sink: Leg | None) -> None:
        super().__init__(source, sink)
        self.payload_bytes = 0

    def run(self) -> Outcome:
        source, buffer = self.source, self.source.loop.buffer
        for _ in range(_BURST):
            if not source.readable or source.frozen or (self.sink is not None and not self.sink.has_room):
                return Outcome.WAITING
            count = source.receive_into(buffer)
            if count <= 0:
                return Outcome.WAITING
            self.hand_on(buffer[:count])
        return Outcome.SPENT

    def hand_on(self, data: bytes | memoryview) -> None:
        self.payload_bytes += len(data) - read_header(data).size_bytes
        super().hand_on(data)


class _Carrier(Carrier):
    """The two pumps; their `moved_bytes` count headers, which are no bytes of the flow's."""

    __slots__ = ()
    pump_kind = _Pump
    from_near: _Pump
    from_far: _Pump

    def carried_bytes(self) -> tuple[int, int]:
        return self.from_near.payload_bytes, self.from_far.payload_bytes

    def received_bytes(self) -> tuple[int, int]:
        return self.carried_bytes()


class _CarryingDatagrams(Carrying):
    """Moves datagrams; see `relay.driver.phase.Phase`."""

    __slots__ = ()
    carrier_kind = _Carrier


class _Legs(FlowLegs):
    """The two sides of a mapping."""

    __slots__ = ()

    def forget(self, leg: Leg, then: Then, at_most_s: float, because: str) -> None:
        """Close it: the record of the flow's end says all there is to say."""
        leg.close()


class DatagramFlow(Flow):
    """One mapping; see the module for its phases."""

    __slots__ = ("dropped",)
    carrying_kind = _CarryingDatagrams
    legs_kind = _Legs
    suffers_faults = False

    def __init__(
        self, driver: Driver, number: int, initiator: Side, forward: Endpoint | None = None, *, dropped: Dropped
    ) -> None:
        """`dropped` takes note of what cannot be sent."""
        super().__init__(driver, number, initiator, forward, lineup=driver.profile.datagram_lineup)
        self.dropped = dropped

    def dial(self, pending: PendingConnection) -> None:
        self._pending, self.destination = pending, pending.destination
        mapping = self.phase = _Mapping(self, pending)
        mapping.begin()

    def _end_now(self, because: str, *, in_order: bool) -> None:
        """End the mapping; nothing is sent."""
        self._perform(self.machine.forget(because))
        self.finish()


class _Mapping(Dialling):
    """Waits for the server's side; what the client sends meanwhile waits in its own."""

    __slots__ = ()
    _flow: DatagramFlow

    def _connect(self) -> None:
        flow, driver = self._flow, self._flow.driver
        client = flow.client_end()
        leg = ServerLeg(
            driver.engine,
            driver.connector,
            partial(_refusal, driver),
            flow.dropped,
            client=client.host if client is not None else "",
        )
        connected, failed = flow.guarded(self._on_opened), flow.guarded(self._on_failed)
        self._connecting = Opening(driver.engine, leg, self._pending.destination, connected, failed)

    def _keep_early_data(self) -> bool:
        return True

    def _on_opened(self, leg: ServerLeg, destination: Endpoint) -> None:
        self._connecting = None
        flow = self._flow
        flow.log.write("mapping-opened", local=str(leg.local))
        if flow.phase is not self:  # a listener of the log has ended it
            leg.close()
            return
        flow.take_over(leg)
        flow.take(DialSucceeded(flow.now_s()))
        if flow.phase is self:
            flow.carry(self._pending, b"")


def _refusal(driver: Driver, target: Endpoint) -> str:
    """Why a datagram is not sent to this address; empty if it may be."""
    connector = driver.connector
    if target.ip is not None and target.ip.is_multicast:
        return "to a group"
    if connector.is_own(target, connector.own_datagram_addresses):
        return "to the relay itself"
    if driver.dialler_of(target, Side.EXTERNAL) is not connector:
        return "to a guest: the proxy carries no datagrams there"
    return ""
