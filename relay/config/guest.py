"""Checks what is said of a guest's network, for wire mode, before anything is opened."""

from __future__ import annotations

from collections.abc import Iterable

from relay import defaults
from relay.address import Endpoint, parse_resolve
from relay.errors import ConfigError
from relay.wire.addresses import addresses_in
from relay.wire.dns.servers import parse_server
from relay.wire.guest_network import GuestNetwork
from relay.wire.link.spec import DeviceSpec, StreamSpec, WireSpec, parse_wire

OFFLOADS = ("auto", "off")


def configure_guest(
    network: str = defaults.NETWORK,
    *,
    reaches_host: bool = True,
    name_servers: Iterable[str] = (),
    resolve: Iterable[str] = (),
) -> GuestNetwork:
    """Check and put together the settings of a guest's network.

    `network` is written as 192.168.127.0/24, or with other addresses behind it: see `addresses_in`. `name_servers` are
    addresses, with a port or without, and `resolve` are `NAME:PORT:ADDRESS`.

    Raises:
        ConfigError: naming the option that is wrong, in the command line's words.
    """
    try:
        addresses = addresses_in(network)
    except ValueError as error:
        hint = f"give 256 addresses or more, as {defaults.NETWORK}, or {defaults.NETWORK},guest=.50"
        raise ConfigError(f"--network: {error}", hint=hint) from None
    return GuestNetwork(
        addresses=addresses,
        reaches_host=reaches_host,
        name_servers=tuple(parse_server(text, where="--dns") for text in name_servers),
        overrides=tuple(parse_resolve(text, where="--resolve") for text in resolve),
    )


def configure_links(specs: Iterable[str], *, allow_open: bool) -> tuple[WireSpec, ...]:
    """Read where guests are attached; what every host could attach itself to takes `allow_open`.

    Raises:
        ConfigError: one is wrong, or listens on more than loopback.
    """
    parsed = tuple(map(parse_wire, specs))
    for spec in parsed:
        place = None if isinstance(spec, DeviceSpec) or (isinstance(spec, StreamSpec) and spec.dials) else spec.place
        if isinstance(place, Endpoint) and not place.is_loopback and not allow_open:
            raise ConfigError(
                f"--wire: listening on {place} without authentication",
                hint="a guest has none; add --allow-open to take any that connects",
            )
    return parsed


def check_offload(offload: str) -> bool:
    """Whether bulk is to be carried in super-segments.

    Raises:
        ConfigError: it is neither of the two words.
    """
    if offload not in OFFLOADS:
        raise ConfigError(f"--offload: {offload!r} is not known", hint=f"it is one of {', '.join(OFFLOADS)}")
    return offload == "auto"
