"""The two ends of a connection of the guest's."""

from __future__ import annotations

from typing import NamedTuple

from relay.address import Endpoint
from relay.wire.packet import dotted


class Ends(NamedTuple):
    """What tells a connection from all others; addresses are numbers."""

    guest_address: int
    guest_port: int
    address: int
    port: int

    @property
    def guest(self) -> Endpoint:
        return Endpoint(dotted(self.guest_address), self.guest_port)

    @property
    def destination(self) -> Endpoint:
        return Endpoint(dotted(self.address), self.port)
