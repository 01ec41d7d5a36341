"""What `relay serve` says on stderr when it has started."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING

from relay.address import ANYWHERE, Endpoint
from relay.cli.reports.paragraphs import painted
from relay.observe import Fidelity
from relay.printable import escape_unprintable
from relay.server import Started

if TYPE_CHECKING:
    from relay.wire.guest_network import GuestNetwork


def banner(relay: Started, *, workers: int, colour: bool, network: GuestNetwork | None = None) -> str:
    """What a user needs to know when a relay has started; `network` is the one of its guests."""
    profile = relay.config.profile
    lines = [escape_unprintable(f"profile {profile.name}: {profile.title}")]
    if relay.address is not None:
        userinfo = "USER:PASS@" if relay.config.auth is not None else ""
        lines += [
            f"proxy   {relay.address}  (SOCKS4, SOCKS4a, SOCKS5, HTTP)",
            *(f"        {line}" for line in _settings_of_shells(f"socks5h://{userinfo}{_as_dialled(relay.address)}")),
        ]
    for kind, addresses in (("forward", relay.forward_addresses), ("inbound", relay.inbound_addresses)):
        lines += [escape_unprintable(f"{kind} {each} -> {_target(relay.targets[each])}") for each in addresses]
    lines += [escape_unprintable(f"wire    {link}") for link in relay.wire]
    if network is not None:
        lines += [escape_unprintable(f"        {line}") for line in _of_guests(network)]
    if workers > 1:
        lines.append(f"workers {workers} processes; the kernel chooses one for each connection")
    for each in relay.fidelity:
        support = each.support
        line = f"  {painted(support.fidelity, colour=colour)} {each.quirk.name}"
        if support.fidelity is not Fidelity.EXACT:
            line += f": {support.how}" + (f"; {support.remedy}" if support.remedy else "")
        lines.append(line)
    return "\n".join(lines)


def _target(target: Endpoint) -> str:
    return "wherever its clients ask for (SOCKS, HTTP)" if target == ANYWHERE else str(target)


def _of_guests(network: GuestNetwork) -> Iterator[str]:
    from relay.wire.host.name_settings import NameSettings
    from relay.wire.host.ping_sockets import find_ping_access
    from relay.wire.packet import dotted

    addresses = network.addresses
    yield f"guest {dotted(addresses.guest)}/{addresses.prefix}, gateway and name server {dotted(addresses.gateway)}"
    if network.reaches_host:
        yield f"{dotted(addresses.host)} leads to this host's 127.0.0.1 (--no-host turns that off)"
    yield f"name servers: {NameSettings.of(network).describe()}"
    if remedy := find_ping_access().remedy:
        yield f"pings are not answered; {remedy}"


def _settings_of_shells(url: str) -> list[str]:
    """What to paste into the shell of the app under test."""
    if sys.platform == "win32":
        return [f'$env:ALL_PROXY = "{url}"', f"set ALL_PROXY={url}    (cmd.exe)"]
    return [f"export ALL_PROXY={url}"]


def _as_dialled(address: Endpoint) -> Endpoint:
    if address.ip is None or not address.ip.is_unspecified:
        return address
    return Endpoint("::1" if address.ip.version == 6 else "127.0.0.1", address.port)
