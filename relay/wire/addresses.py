"""The addresses of a NAT's network, by the places that VMware's vmnet8 gives them."""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass

from relay.wire.packet import undotted


@dataclass(frozen=True, slots=True)
class Addresses:
    """Who has which address, as 32-bit integers.

    `host` stands for this host itself, `gateway` for the NAT, `dns` for its name server, `dhcp` for its DHCP server.
    """

    network: int
    prefix: int
    guest: int
    gateway: int
    dns: int
    host: int
    dhcp: int

    @property
    def mask(self) -> int:
        return 0xFFFFFFFF << (32 - self.prefix) & 0xFFFFFFFF

    @property
    def broadcast(self) -> int:
        return self.network | ~self.mask & 0xFFFFFFFF

    def has(self, address: int) -> bool:
        """Whether an address lies in the network."""
        return address & self.mask == self.network


def addresses_in(network: str) -> Addresses:
    """Return vmnet8's layout of this network: host .1, gateway and DNS .2, guest .128, DHCP server .254.

    Raises:
        ValueError: it is no IPv4 network, or has not that many addresses.
    """
    parsed = ipaddress.IPv4Network(network)
    if parsed.num_addresses < 256:
        raise ValueError(f"{network} has fewer than 256 addresses")
    base = undotted(str(parsed.network_address))
    return Addresses(base, parsed.prefixlen, base + 128, base + 2, base + 2, base + 1, base + 254)
