"""What this host's own settings say of names: its hosts file and its resolv.conf, read anew when they change."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

from relay.address import Endpoint, ResolveOverride
from relay.net.changing_file import ChangingFile
from relay.net.hosts_file import HOSTS
from relay.wire.dns.local import LocalNames, entries_in, entries_of
from relay.wire.dns.message import UDP_BYTES, Query, build_reply
from relay.wire.dns.servers import servers_in
from relay.wire.guest_network import GuestNetwork

RESOLV_CONF = Path("/etc/resolv.conf")


class NameSettings:
    """Whom to ask, and what needs no asking."""

    def __init__(
        self,
        *,
        host_address: int | None,
        servers: Sequence[Endpoint] = (),
        overrides: Iterable[ResolveOverride] = (),
        resolv_conf: Path = RESOLV_CONF,
        hosts: Path = HOSTS,
    ) -> None:
        """`servers` are asked instead of those in resolv.conf.

        `host_address` is the guest's address for the host's loopback; None if it has none.
        """
        self._named = list(servers)
        self._found: list[Endpoint] = []
        self._resolv_conf_path = resolv_conf
        self._resolv_conf = ChangingFile(resolv_conf)
        self._hosts = ChangingFile(hosts)
        self._overrides = {(override.name, override.port): override for override in overrides}
        self._names = LocalNames(host_address)
        self._names.overrides = entries_of(self._overrides.values())

    @classmethod
    def of(cls, network: GuestNetwork) -> NameSettings:
        """Those of a guest's network."""
        host_address = network.addresses.host if network.reaches_host else None
        return cls(host_address=host_address, servers=network.name_servers, overrides=network.overrides)

    def resolve_as(self, override: ResolveOverride) -> None:
        """Answer a name ourselves from now on."""
        self._overrides[override.name, override.port] = override
        self._names.overrides = entries_of(self._overrides.values())

    def servers(self) -> list[Endpoint]:
        """The name servers to ask now; none if the host has none."""
        if self._named:
            return self._named
        if (text := self._resolv_conf.read_changed()) is not None:
            self._found = servers_in(text)
        return self._found

    def reply(self, query: Query, message: bytes, most_bytes: int = UDP_BYTES) -> bytes | None:
        """The reply that needs no asking; None if there is none."""
        if query.question is None:
            return None
        if (text := self._hosts.read_changed()) is not None:
            self._names.hosts = entries_in(text)
        values = self._names.answer(query.question)
        if values is None:
            return None
        return build_reply(message, query.question.kind, values, most_bytes)

    def describe(self) -> str:
        """Who is asked, for people."""
        if self._named:
            return ", ".join(map(str, self._named))
        found = ", ".join(server.host for server in self.servers())
        return f"{found or 'none'}, by {self._resolv_conf_path}"
