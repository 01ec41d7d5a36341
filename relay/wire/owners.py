"""Who has the guest's end of a connection, where the host can find out."""

from __future__ import annotations

from typing import Protocol

from relay.legs import PeerSocket, Process
from relay.wire.ends import Ends
from relay.wire.mappings import End


class Owners(Protocol):
    """Knows the processes of one guest."""

    def glimpse(self, ends: Ends) -> Process | None:
        """As `relay.legs.Leg.glimpse_process`."""

    def find(self, ends: Ends) -> Process | None:
        """As `relay.legs.Leg.find_process`."""

    def look(self, ends: Ends) -> PeerSocket | None:
        """As `relay.legs.Leg.look_at_peer`."""

    def glimpse_datagram(self, protocol: int, end: End) -> Process | None:
        """Who sends from a UDP port, or echo requests with an identifier, if that is found at once."""


class NoOwners:
    """For a guest whose processes are not this host's."""

    def glimpse(self, ends: Ends) -> Process | None:
        return None

    def find(self, ends: Ends) -> Process | None:
        return None

    def look(self, ends: Ends) -> PeerSocket | None:
        return None

    def glimpse_datagram(self, protocol: int, end: End) -> Process | None:
        return None


NO_OWNERS: Owners = NoOwners()
