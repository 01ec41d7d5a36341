"""The phase of a SOCKS client that waits for a connection (BIND), until its peer has connected or will not.

    the peer's name is looked up --> the first reply; a listener --> the peer is there, or an end of the wait

The second reply comes when the peer has connected, or will not (RFC 1928 section 6): see `relay.driver.bound`. The wait
has the limit of a dial. A connection from another host is reset, and the wait goes on; that of a SOCKS4 client ends.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from relay.address import Endpoint
from relay.causes import Cause
from relay.driver.dialling import EARLY_BYTES
from relay.driver.held_open import HeldOpen
from relay.errors import ConfigError
from relay.events import DialFailure, FailureKind, Side
from relay.frontends import Conversation
from relay.frontends.bound import BoundConnection
from relay.legs import WOULD_BLOCK, Leg
from relay.legs.unowned import NO_OWNER
from relay.net.connect import host_of
from relay.net.dial import Address
from relay.net.lookup import Lookup
from relay.net.peer_wait import PeerWait, address_toward
from relay.protocols import Bind

if TYPE_CHECKING:
    from relay.driver.flow import Flow

_WAIT = "bind"  # no behaviour's timer has a name without a slash


class Binding(HeldOpen):
    """Waits for the peer; see `relay.driver.phase.Phase`."""

    __slots__ = ("_early", "_lookup", "_question", "_wait")

    def __init__(self, flow: Flow, leg: Leg, conversation: Conversation, question: Bind) -> None:
        super().__init__(flow, leg, conversation)
        self._question = question
        self._early = bytearray(conversation.early_data)
        self._lookup: Lookup | None = None
        self._wait: PeerWait | None = None

    def begin(self) -> None:
        """Find out where the peer is."""
        flow, driver = self._flow, self._flow.driver
        client = host_of(flow.client_end())
        if not self._take_door(client):
            return
        self._lookup = Lookup(
            driver.engine, driver.connector, self._question.peer, flow.guarded(self._on_found), client=client
        )
        self.on_leg_ready()

    def on_leg_ready(self) -> None:
        leg = self._leg
        while leg.readable and not leg.frozen and len(self._early) < EARLY_BYTES:
            buffer = leg.loop.buffer[: EARLY_BYTES - len(self._early)]
            count = leg.receive_into(buffer)
            if count > 0:
                self._early += buffer[:count]
            else:
                if count != WOULD_BLOCK:
                    self._end_with_client(count)
                return

    def leave(self) -> None:
        if self._lookup is not None:
            self._lookup.abandon()
        if self._wait is not None:
            self._wait.close()
            self._flow.driver.connector.own_addresses.discard(self._wait.address)
        super().leave()

    def _on_found(self, found: list[Address] | DialFailure) -> None:
        self._lookup = None
        if isinstance(found, DialFailure):
            self._refuse(found)
            return
        hosts = [target.host for _, target in found]
        if any((ip := target.ip) is None or ip.is_unspecified for _, target in found):
            self._refuse(DialFailure(FailureKind.DENIED, "a bind names the host that may connect"))
            return
        flow, driver, local = self._flow, self._flow.driver, self._leg.local
        bind_host = address_toward(hosts[0], local.host if local is not None else "127.0.0.1", driver.connector.source)
        try:
            wait = self._wait = PeerWait(
                driver.engine, bind_host, hosts, driver.connector.abilities, self._on_peer, self._on_foreign
            )
        except ConfigError as error:
            self._refuse(DialFailure(FailureKind.EXHAUSTED, str(error)))
            return
        driver.connector.own_addresses.add(wait.address)
        flow.log.write("bind-opened", client=flow.client, address=str(wait.address), peer=self._question.peer.host)
        if flow.phase is not self:  # a listener of the log has ended it
            return
        self._leg.write(self._conversation.grant(wait.address))
        flow.start_timer(_WAIT, driver.connector.timeout_s, self._time_out)

    def _on_peer(self, peer_leg: Leg) -> None:
        flow = self._flow
        client_leg = flow.legs.give_away(Side.INTERNAL)
        client_leg.owner = NO_OWNER
        flow.machine.hand_over(Cause.PEER_CONNECTED)
        flow.finish()
        bound = BoundConnection(peer_leg, client_leg, self._conversation, bytes(self._early))
        flow.driver.take_bound(bound, flow.forward)

    def _on_foreign(self, peer: Endpoint) -> None:
        self._flow.log.write("peer-refused", peer=str(peer), expected=self._question.peer.host)
        if self._question.others_end_it:
            self._refuse(DialFailure(FailureKind.DENIED, f"{peer.host} has connected, not {self._question.peer.host}"))

    def _time_out(self) -> None:
        peer, timeout_s = self._question.peer.host, self._flow.driver.connector.timeout_s
        self._refuse(DialFailure(FailureKind.TIMED_OUT, f"{peer} did not connect within {timeout_s:g} s"))

    def _record_refusal(self, failure: DialFailure) -> None:
        flow = self._flow
        flow.log.write("bind-failed", client=flow.client, failure=failure.kind.value, detail=failure.detail)
