"""Where a guest's packets may come from and go to, and what becomes of the host's address.

The network's `host` address leads to the host's loopback, unless that is turned off; no other address does. Packets to
loopback, multicast and broadcast addresses go nowhere (RFC 9293 MUST-57), and so do those of another source than a
guest's (MUST-63).
"""

from __future__ import annotations

from relay.address import Endpoint
from relay.wire.addresses import Addresses
from relay.wire.packet import dotted

_LOOPBACK = "127.0.0.1"
_LOOPBACK_NETWORK = 127
_DNS_PORT = 53


class Reach:
    """The rules for one network."""

    def __init__(self, addresses: Addresses, *, host: bool = True) -> None:
        """`host` says whether the guest reaches this host's loopback, by the network's `host` address."""
        self._addresses = addresses
        self._host = host
        nat = {addresses.gateway, addresses.dns, addresses.dhcp}
        self._broadcast = addresses.broadcast
        self._ours = nat | {addresses.network, addresses.broadcast, addresses.host}
        self._ending_here = nat if host else nat | {addresses.host}

    def may_send(self, source: int) -> bool:
        """Whether this is an address that a guest may have."""
        return self._addresses.has(source) and source not in self._ours

    def may_reach(self, destination: int) -> bool:
        """Whether a packet to this address has anywhere to go."""
        first = destination >> 24
        return 0 < first < 224 and first != _LOOPBACK_NETWORK and destination != self._broadcast

    def is_name_server(self, destination: int, port: int) -> bool:
        """Whether the NAT's name server is asked."""
        return port == _DNS_PORT and destination == self._addresses.dns

    def ends_here(self, destination: int) -> bool:
        """Whether the NAT itself has this address: it is not carried to any host."""
        return destination in self._ending_here

    def seen_as(self, source: int) -> int | None:
        """Which address the guest sees for what came from this one; None if it is to see nothing of it."""
        if source >> 24 == _LOOPBACK_NETWORK:
            return self._addresses.host if self._host else None
        return source

    def source_for(self, client: int | None) -> int:
        """Where a connection to the guest comes from, on behalf of this client; None is an unknown one."""
        seen = self.seen_as(client) if client is not None else None
        if seen is None or not self.may_reach(seen) or (self._addresses.has(seen) and seen != self._addresses.host):
            return self._addresses.gateway
        return seen

    def translated(self, destination: int, port: int) -> Endpoint:
        """Where a connection to this address goes to."""
        return Endpoint(_LOOPBACK if destination == self._addresses.host else dotted(destination), port)
