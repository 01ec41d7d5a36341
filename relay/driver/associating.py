"""The phase of a SOCKS5 client that sends datagrams: its TCP connection lasts as long as it does.

The TCP connection carries nothing more, so what comes by it is dropped; its end, by FIN or RST, ends the association
and the mapping that this has (RFC 1928 section 7). Each mapping is a flow of its own: see `relay.driver.datagrams`.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from relay.address import Endpoint
from relay.causes import Cause
from relay.driver.held_open import HeldOpen
from relay.events import DialFailure, FailureKind
from relay.frontends import Conversation
from relay.frontends.associated import AssociatedDatagrams
from relay.legs import WOULD_BLOCK, Leg
from relay.net.association import Association
from relay.net.connect import host_of
from relay.net.datagram_leg import DatagramLeg
from relay.protocols import Associate

if TYPE_CHECKING:
    from relay.driver.flow import Flow


class Associating(HeldOpen):
    """Keeps the association; see `relay.driver.phase.Phase`."""

    __slots__ = ("_association", "_dropped", "_mapping")

    def __init__(self, flow: Flow, leg: Leg, conversation: Conversation) -> None:
        super().__init__(flow, leg, conversation)
        self._association: Association | None = None
        self._mapping: Flow | None = None
        self._dropped: Counter[str] = Counter()

    def begin(self, question: Associate) -> None:
        """Open the socket, and say where it is; or refuse."""
        flow, driver = self._flow, self._flow.driver
        if not self._take_door(host_of(flow.client_end())):
            return
        try:
            association = Association(driver.engine, self._leg, self._begin_mapping, self._drop, port=question.port)
        except OSError as error:
            reason = f"there is no socket for datagrams: {error.strerror or error}"
            self._refuse(DialFailure(FailureKind.EXHAUSTED, reason))
            return
        self._association = association
        driver.connector.own_datagram_addresses.add(association.address)
        flow.log.write("association-opened", client=flow.client, address=str(association.address))
        self._leg.write(self._conversation.grant(association.address))
        self._conversation.forget_words()
        self.on_leg_ready()

    def on_leg_ready(self) -> None:
        leg = self._leg
        if not leg.readable or leg.frozen:
            return
        count = leg.receive_into(leg.loop.buffer)
        if count > 0:
            leg.loop.call_soon(self._read_on)
        elif count != WOULD_BLOCK:
            self._end_with_client(count)

    def leave(self) -> None:
        super().leave()
        if self._association is not None:
            self._association.close()
            self._flow.driver.connector.own_datagram_addresses.discard(self._association.address)
        if self._mapping is not None:
            self._mapping.guard(self._mapping.give_up, Cause.ASSOCIATION_ENDED)
        for reason, count in self._dropped.items():
            if count > 1:
                self._flow.log.write("datagrams-dropped", reason=reason, datagrams=count)

    def _record_refusal(self, failure: DialFailure) -> None:
        flow = self._flow
        flow.log.write("association-refused", client=flow.client, reason=failure.detail)

    def _read_on(self) -> None:
        if self._flow.phase is self:
            self._flow.guard(self.on_leg_ready)

    def _begin_mapping(self, leg: DatagramLeg, destination: Endpoint) -> None:
        flow = self._flow
        self._mapping = flow.driver.take_datagrams(AssociatedDatagrams(leg, destination), self._drop, flow.forward)
        if self._mapping is None:
            self._drop("beyond --max-flows")

    def _drop(self, reason: str) -> None:
        self._dropped[reason] += 1
        if self._dropped[reason] == 1:
            self._flow.log.write("datagrams-dropped", reason=reason, datagrams=1)
