"""Wire mode's front end: a guest's SYN is a connection that was asked for.

A grant is the SYN-ACK, a refusal RST,ACK, and a connection that is ignored gets no answer at all.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Any, NoReturn, Protocol

from relay.abilities import Ability, Want
from relay.address import Endpoint
from relay.events import DialFailure, Side
from relay.log import EventLog
from relay.loop.engine import Engine
from relay.observe import Fidelity, Support
from relay.protocols import HttpExchange
from relay.stack import Stack
from relay.wire.dialling import GuestDial
from relay.wire.guest_network import GuestNetwork
from relay.wire.host.ping_sockets import PingAccess, find_ping_access
from relay.wire.host.view import View
from relay.wire.leg import WireLeg
from relay.wire.link import Link
from relay.wire.link.tapped import TappedLink
from relay.wire.nat import Nat
from relay.wire.owners import NO_OWNERS, Owners
from relay.wire.tap import Tap

_EXACT = Support(Fidelity.EXACT, "wire", "our own TCP answers the guest, segment by segment")
_SHORT = {
    Want(Ability.ACK, by="server"): Support(
        Fidelity.APPROXIMATE, "wire", "our own TCP acknowledges first; what the server never took is reported as lost"
    )
}


class Host(Protocol):
    """Takes the connections that are asked for; see `relay.frontends.Host`."""

    engine: Engine
    log: EventLog
    connect_timeout_s: float

    def dial_through(self, dialler: Any) -> None:
        """Have this open the connections to what it reaches, from now on."""

    def share_names(self, names: Any) -> None:
        """Have this know, too, which names are answered by the relay itself from now on."""

    def take(self, pending: Any) -> None:
        """Take over a connection that was asked for."""


class WireConnection:
    """A SYN that waits for its answer; see `relay.frontends.PendingConnection`."""

    __slots__ = ("destination", "leg")

    initiator = Side.INTERNAL
    via = "wire"
    early_data = b""
    codec: HttpExchange | None = None

    def __init__(self, leg: WireLeg, destination: Endpoint) -> None:
        self.leg = leg
        self.destination = destination

    def grant(self, bound: Endpoint | None) -> None:
        self.leg.grant()

    def refuse(self, failure: DialFailure) -> None:
        self.leg.refuse()

    def send_through(self, leg: object) -> None:
        """A SYN has no more words than its answer."""

    def ignore(self, *, once: bool) -> None:
        self.leg.ignore(once=once)

    def next_request(self) -> NoReturn:
        raise AssertionError("a SYN asks for one destination")


class WireFrontEnd:
    """Hands over what the guest on one link asks for; see `relay.frontends.FrontEnd`."""

    def __init__(
        self,
        link: Link,
        stack: Stack,
        network: GuestNetwork,
        seed: int,
        owners: Owners = NO_OWNERS,
        tap: Tap | None = None,
    ) -> None:
        """Serve the guest on this link. `owners` knows its processes; `tap` is shown its packets."""
        self._link = link if tap is None else TappedLink(link, tap)
        self._tap = tap
        self._stack = stack
        self._network = network
        self._seed = seed
        self._owners = owners
        self._connect_timeout_s = 0.0
        self._nat: Nat | None = None

    def open(self, host: Host) -> None:
        access = find_ping_access()
        if access is PingAccess.NONE:
            host.log.emit("ping-unavailable", remedy=access.remedy)
        view = View(self._tap, self._owners)
        self._nat = Nat(host.engine, self._link, self._stack, self._network, self._seed, self._owners, access, view)
        self._nat.open(lambda leg, destination: host.take(WireConnection(leg, destination)))
        self._connect_timeout_s = host.connect_timeout_s
        host.dial_through(self)
        host.share_names(self._nat)

    def reaches(self, destination: Endpoint, side: Side) -> bool:
        """The guest, and no other; see `relay.frontends.Dialler`."""
        return self._nat is not None and side is Side.INTERNAL and self._nat.reaches(destination)

    def connect(
        self,
        destination: Endpoint,
        side: Side,
        connected: Callable[[WireLeg, Endpoint], None],
        failed: Callable[[DialFailure], None],
        client: Callable[[], Endpoint | None],
    ) -> GuestDial:
        """Dial the guest; see `relay.frontends.Dialler`."""
        assert self._nat is not None, "reaches nothing"  # noqa: S101
        return self._nat.dial(destination, client(), self._connect_timeout_s, connected, failed)

    def close(self) -> None:
        if self._nat is not None:
            self._nat.close()

    @property
    def dropped(self) -> Counter[str]:
        """How many packets were dropped so far, by reason."""
        return self._nat.dropped if self._nat is not None else Counter()

    def describe(self) -> str:
        return self._link.name

    @staticmethod
    def support(want: Want) -> Support | None:
        return None if want.external else _SHORT.get(want.kind, _EXACT)
