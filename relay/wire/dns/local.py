"""The names that the NAT answers itself: overrides first, then the host's hosts file.

What is the host's loopback there is the network's host address for the guest, which leads to it; without one such an
entry does not count. `localhost` is the guest's own (RFC 6761 section 6.3).

A name that has an address here has no other: a question for its other family is answered with none.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable, Mapping
from typing import TypeAlias

from relay.address import ResolveOverride
from relay.wire.dns.message import AAAA, PTR, A, Question, encode_name

Ip: TypeAlias = ipaddress.IPv4Address | ipaddress.IPv6Address
Entries: TypeAlias = Mapping[str, list[Ip]]
"""Names, in lower case, and their addresses."""

_LOCALHOST: list[Ip] = [ipaddress.IPv4Address("127.0.0.1"), ipaddress.IPv6Address("::1")]
_KINDS = {4: A, 6: AAAA}
_IPV4_ZONE, _IPV6_ZONE = ".in-addr.arpa", ".ip6.arpa"


def entries_in(hosts: str) -> Entries:
    """What a hosts file says (hosts(5)); lines that make no sense are left out."""
    entries: dict[str, list[Ip]] = {}
    for line in hosts.splitlines():
        address, *names = line.partition("#")[0].split() or [""]
        ip = _ip(address)
        for name in names if ip is not None else ():
            _add(entries, name, ip)
    return entries


def entries_of(overrides: Iterable[ResolveOverride]) -> Entries:
    """The same of overrides; a question has no port, so theirs do not count."""
    entries: dict[str, list[Ip]] = {}
    for override in overrides:
        _add(entries, override.name, _ip(override.address))
    return entries


class LocalNames:
    """What is answered here."""

    def __init__(self, host_address: int | None) -> None:
        """`host_address` leads to the host's loopback; None if nothing does."""
        self._host = ipaddress.IPv4Address(host_address) if host_address is not None else None
        self.overrides: Entries = {}
        self.hosts: Entries = {}

    def answer(self, question: Question) -> list[bytes] | None:
        """The values of the records that answer a question; None if it is not for us."""
        if question.kind == PTR:
            return self._names_of(question.name)
        if question.kind not in _KINDS.values():
            return None
        addresses = self._addresses_of(question.name)
        if not addresses:
            return None
        return [ip.packed for ip in addresses if _KINDS[ip.version] == question.kind]

    def _addresses_of(self, name: str) -> list[Ip]:
        if _is_localhost(name):
            return _LOCALHOST
        for entries in (self.overrides, self.hosts):
            found = [seen for ip in entries.get(name, ()) if (seen := self._seen(ip)) is not None]
            if found:
                return list(dict.fromkeys(found))
        return []

    def _names_of(self, asked: str) -> list[bytes] | None:
        ip = address_in(asked)
        if ip is None:
            return None
        for entries in (self.overrides, self.hosts):
            for name, addresses in entries.items():
                if _is_localhost(name) or ip not in map(self._seen, addresses):
                    continue
                if (encoded := encode_name(name)) is not None:
                    return [encoded]
        return None

    def _seen(self, ip: Ip) -> Ip | None:
        return self._host if ip.is_loopback else ip


def address_in(name: str) -> Ip | None:
    """The address whose name is asked for by this one (RFC 1035 section 3.5, RFC 3596 section 2.5)."""
    if name.endswith(_IPV4_ZONE):
        return _ip(".".join(reversed(name.removesuffix(_IPV4_ZONE).split("."))))
    digits = name.removesuffix(_IPV6_ZONE).split(".")
    if name.endswith(_IPV6_ZONE) and len(digits) == 32 and all(len(digit) == 1 for digit in digits):
        whole = "".join(reversed(digits))
        return _ip(":".join(whole[at : at + 4] for at in range(0, 32, 4)))
    return None


def _is_localhost(name: str) -> bool:
    return name == "localhost" or name.endswith(".localhost")


def _add(entries: dict[str, list[Ip]], name: str, ip: Ip | None) -> None:
    if ip is not None:
        entries.setdefault(name.lower().rstrip("."), []).append(ip)


def _ip(text: str) -> Ip | None:
    try:
        return ipaddress.ip_address(text.partition("%")[0])
    except ValueError:
        return None
