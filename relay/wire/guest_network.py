"""What a guest's network is like, beside the profile's stack: its addresses, and what it is answered to names."""

from __future__ import annotations

from dataclasses import dataclass, field

from relay import defaults
from relay.address import Endpoint, ResolveOverride
from relay.wire.addresses import Addresses, addresses_in


@dataclass(frozen=True, slots=True, kw_only=True)
class GuestNetwork:
    """The settings of one network."""

    addresses: Addresses = field(default_factory=lambda: addresses_in(defaults.NETWORK))
    reaches_host: bool = True
    """Whether the network's `host` address leads to this host's loopback."""
    name_servers: tuple[Endpoint, ...] = ()
    """Which name servers are asked, in place of this host's."""
    overrides: tuple[ResolveOverride, ...] = ()
    """Names that are answered without asking."""
