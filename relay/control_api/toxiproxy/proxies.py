"""Proxies: port forwards with a name, which can be disabled and enabled, and their toxics.

The relay's other forwards are proxies, too, by their address. A change is over once the relay has carried it out.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from relay.address import Endpoint, ForwardSpec, parse_endpoint
from relay.control import CloseForward, LiftFault, OpenForward, SetFault
from relay.control_api.exchange import Refused
from relay.control_api.toxiproxy.toxics import Toxic
from relay.errors import ConfigError
from relay.server import Started

_LISTEN = "127.0.0.1:0"


@dataclass(slots=True)
class Proxy:
    """One proxy."""

    name: str
    listen: Endpoint
    """Where it is to listen; once it has, where it does."""
    upstream: Endpoint
    enabled: bool = False
    toxics: dict[str, Toxic] = field(default_factory=dict)

    def as_data(self) -> dict[str, Any]:
        """As clients read it."""
        return {
            "name": self.name,
            "listen": str(self.listen),
            "upstream": str(self.upstream),
            "enabled": self.enabled,
            "toxics": [toxic.as_data() for toxic in self.toxics.values()],
        }


class Proxies:
    """The proxies of one relay, by name."""

    def __init__(self, relay: Started, *, beyond_loopback: bool) -> None:
        """Without `beyond_loopback` proxies listen on loopback alone."""
        self._relay = relay
        self._beyond_loopback = beyond_loopback
        self._proxies: dict[str, Proxy] = {}

    def all(self) -> dict[str, Proxy]:
        """All of them, with what has become of their forwards by other commands."""
        targets = {address: self._relay.targets[address] for address in self._relay.forward_addresses}
        taken = set()
        for proxy in self._proxies.values():
            proxy.enabled = proxy.enabled and proxy.listen in targets
            if proxy.enabled:
                taken.add(proxy.listen)
        for address, target in targets.items():
            if address not in taken:
                self._proxies[str(address)] = Proxy(str(address), address, target, enabled=True)
        return self._proxies

    def get(self, name: str) -> Proxy:
        """The proxy of this name.

        Raises:
            Refused: there is none.
        """
        try:
            return self.all()[name]
        except KeyError:
            raise Refused(404, "proxy not found") from None

    def read(self, listen: str, upstream: str) -> tuple[Endpoint, Endpoint]:
        """Both ends of a proxy, as clients write them.

        Raises:
            Refused: one of them is wrong, or not for this relay.
        """
        if listen.startswith(":"):
            listen = f"0.0.0.0{listen}"  # as Go writes every address
        try:
            bind, target = parse_endpoint(listen or _LISTEN, where="listen"), parse_endpoint(upstream, where="upstream")
        except ConfigError as error:
            raise Refused(400, str(error), hint=error.hint) from None
        if not (bind.is_loopback or self._beyond_loopback):
            hint = "start the relay with --allow-open to have forwards that every host reaches"
            raise Refused(403, f"listen: {bind} is beyond loopback", hint=hint)
        return bind, target

    async def create(self, name: str, listen: str, upstream: str, *, enabled: bool) -> Proxy:
        """Make a new proxy.

        Raises:
            Refused: there is one of this name, or it cannot listen.
        """
        if name in self.all():
            raise Refused(409, "proxy already exists")
        proxy = Proxy(name, *self.read(listen, upstream))
        if enabled:
            await self._enable(proxy)
        self._proxies[name] = proxy
        return proxy

    async def change(self, proxy: Proxy, listen: str, upstream: str, *, enabled: bool) -> None:
        """Have a proxy listen and lead elsewhere, or be enabled or disabled; what stays as it is goes on.

        Raises:
            Refused: it cannot listen there.
        """
        bind, target = self.read(listen, upstream)
        if (bind, target) != (proxy.listen, proxy.upstream):
            await self._disable(proxy)
            proxy.listen, proxy.upstream = bind, target
        if enabled:
            await self._enable(proxy)
        else:
            await self._disable(proxy)

    async def delete(self, proxy: Proxy) -> None:
        """End a proxy, and its flows."""
        await self._disable(proxy)
        self._proxies.pop(proxy.name, None)

    async def reset(self) -> None:
        """Enable every proxy, without toxics."""
        for proxy in list(self.all().values()):
            for toxic in list(proxy.toxics.values()):
                await self.lift(proxy, toxic)
            await self._enable(proxy)

    async def set(self, proxy: Proxy, toxic: Toxic) -> None:
        """Give a proxy's flows a toxic, or change it."""
        if proxy.enabled:
            await self._relay.carry_out(SetFault(toxic.name, toxic.fault, proxy.listen))
        proxy.toxics[toxic.name] = toxic

    async def lift(self, proxy: Proxy, toxic: Toxic) -> None:
        """Take a toxic away."""
        proxy.toxics.pop(toxic.name, None)
        if proxy.enabled:
            await self._relay.carry_out(LiftFault(toxic.name, proxy.listen))

    async def _enable(self, proxy: Proxy) -> None:
        if proxy.enabled:
            return
        try:
            proxy.listen = await self._relay.carry_out(OpenForward(ForwardSpec(proxy.listen, proxy.upstream)))
        except ConfigError as error:
            raise Refused(500, str(error).removeprefix("--forward: "), hint=error.hint) from None
        proxy.enabled = True
        for toxic in proxy.toxics.values():
            await self.set(proxy, toxic)

    async def _disable(self, proxy: Proxy) -> None:
        if proxy.enabled:
            proxy.enabled = False
            await self._relay.carry_out(CloseForward(proxy.listen))
