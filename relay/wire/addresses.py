"""The addresses of a NAT's network, by the places that VMware's vmnet8 gives them."""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass

from relay.wire.packet import dotted, undotted

_LEAST_ADDRESSES = 256
_PLACES = {"guest": 128, "gateway": 2, "dns": 2, "host": 1, "dhcp": 254}
"""In the network, as vmnet8 has them."""


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


# RFC 6890 section 2.2.2, RFC 5771: this network, loopback, multicast and reserved.
_NOT_FOR_STATIONS = tuple(map(ipaddress.IPv4Network, ("0.0.0.0/8", "127.0.0.0/8", "224.0.0.0/3")))


def addresses_in(text: str) -> Addresses:
    """Return vmnet8's layout of a network: host .1, gateway and DNS .2, guest .128, DHCP server .254.

    Other places may follow the network, each whole or by its last number: `192.168.27.0/24,guest=.50,gateway=.3`. The
    name server has the gateway's address if it is given none.

    Raises:
        ValueError: it is no IPv4 network of stations, it has fewer than 256 addresses, or these are not in it, or the
            same.
    """
    network, *changes = text.split(",")
    try:
        parsed = ipaddress.IPv4Network(network, strict=False)
    except ValueError:
        raise ValueError(f"{network!r} is not an IPv4 network") from None
    if str(parsed.network_address) != network.partition("/")[0]:
        raise ValueError(f"{network} has host bits set")
    for special in _NOT_FOR_STATIONS:
        if parsed.overlaps(special):
            raise ValueError(f"no station has an address in {special}, which {network} overlaps")
    if parsed.num_addresses < _LEAST_ADDRESSES:
        raise ValueError(f"{network} has fewer than {_LEAST_ADDRESSES} addresses")
    base = int(parsed.network_address)
    found = {name: base + place for name, place in _PLACES.items()}
    given = dict(_change(base, change) for change in changes)
    found |= {"dns": given.get("gateway", found["gateway"])} | given
    addresses = Addresses(base, parsed.prefixlen, **found)
    _check(addresses, found)
    return addresses


def _change(base: int, text: str) -> tuple[str, int]:
    name, equals, value = text.partition("=")
    if name not in _PLACES or not equals:
        raise ValueError(f"{text!r} is none of {', '.join(f'{each}=ADDRESS' for each in _PLACES)}")
    last = value.removeprefix(".")
    if value != last and last.isascii() and last.isdigit() and len(last) <= 3:
        return name, base + int(last)
    try:
        return name, undotted(value)
    except ValueError:
        raise ValueError(f"{name}: {value!r} is not an IPv4 address") from None


def _check(addresses: Addresses, found: dict[str, int]) -> None:
    for name, address in found.items():
        if not addresses.has(address) or address in {addresses.network, addresses.broadcast}:
            raise ValueError(f"{name} {dotted(address)} is no address of a station in the network")
        for other in _PLACES:
            if found[other] == address and other != name and {name, other} != {"dns", "gateway"}:
                raise ValueError(f"{name} and {other} are both {dotted(address)}")
