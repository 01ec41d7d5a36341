"""Which name servers are asked: those that the user names, or those of the host's resolv.conf."""

from __future__ import annotations

import ipaddress

from relay.address import MAX_PORT, Endpoint, parse_endpoint
from relay.errors import ConfigError

PORT = 53
_MOST = 3  # as the host's own resolver has it (resolv.conf(5))
_FORM = "ADDRESS or ADDRESS:PORT, e.g. 192.0.2.53 or [2001:db8::53]:5353"


def parse_server(text: str, *, where: str) -> Endpoint:
    """Read a name server's address, with a port or without.

    Raises:
        ConfigError: it is no address; naming `where`.
    """
    if _is_address(text.strip("[]")):
        return Endpoint(text.strip("[]"), PORT)
    try:
        server = parse_endpoint(text, where=where)
    except ConfigError as error:
        raise ConfigError(str(error), hint=f"the form is {_FORM}") from None
    if not _is_address(server.host) or not 0 < server.port <= MAX_PORT:
        raise ConfigError(f"{where}: {text!r} is not the address of a name server", hint=f"the form is {_FORM}")
    return server


def servers_in(resolv_conf: str) -> list[Endpoint]:
    """The name servers that a resolv.conf has, in its order."""
    words = [line.split() for line in resolv_conf.splitlines()]
    named = [line[1] for line in words if len(line) > 1 and line[0] == "nameserver"]
    return [Endpoint(address, PORT) for address in named if _is_address(address)][:_MOST]


def _is_address(text: str) -> bool:
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return True
