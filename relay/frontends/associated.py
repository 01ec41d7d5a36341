"""A flow of datagrams that a SOCKS5 client has begun by its first one."""

from __future__ import annotations

from relay.address import Endpoint
from relay.events import DialFailure, Side
from relay.legs import Leg


class AssociatedDatagrams:
    """Has nothing to answer, for datagrams have no handshake; see `PendingConnection`."""

    initiator = Side.INTERNAL
    via = "socks5-udp"
    early_data = b""
    codec = None

    def __init__(self, leg: Leg, destination: Endpoint) -> None:
        """`destination` is that of the first datagram, which waits in the leg."""
        self.leg = leg
        self.destination = destination

    def grant(self, bound: Endpoint | None) -> None:
        pass

    def refuse(self, failure: DialFailure) -> None:
        self.leg.close()

    def send_through(self, leg: Leg) -> None:
        self.leg = leg

    def ignore(self, *, once: bool) -> None:
        pass

    def next_request(self) -> AssociatedDatagrams:
        raise AssertionError("datagrams have no requests")
