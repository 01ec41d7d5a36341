"""Proxies: port forwards with a name, which can be disabled and enabled, and their toxics.

The relay's other forwards are proxies, too, by their address. A change is over once the relay has carried it out.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from relay.address import Endpoint, ForwardSpec, parse_endpoint
from relay.control import AdjustForward, CloseForward, LiftFault, OpenForward, SetFault
from relay.control_api.exchange import Refused
from relay.control_api.toxiproxy.behaviour_toxics import BehaviourToxic
from relay.control_api.toxiproxy.toxics import AnyToxic
from relay.control_api.toxiproxy.upstreams import Upstream, parse_upstream, upstream_of
from relay.errors import ConfigError
from relay.server import Started

_LISTEN = "127.0.0.1:0"


@dataclass(slots=True)
class Proxy:
    """One proxy."""

    name: str
    listen: Endpoint
    """Where it is to listen; once it has, where it does."""
    upstream: Upstream
    enabled: bool = False
    toxics: dict[str, AnyToxic] = field(default_factory=dict)

    def settings_with(self, toxics: Mapping[str, AnyToxic]) -> tuple[str, ...]:
        """The settings of its forward's own where it has these toxics."""
        behaviours = [toxic for toxic in toxics.values() if isinstance(toxic, BehaviourToxic)]
        return (*self.upstream.settings, *(text for toxic in behaviours for text in toxic.settings))

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
                upstream = upstream_of(target, self._relay.forward_settings.get(address, ()))
                self._proxies[str(address)] = Proxy(str(address), address, upstream, enabled=True)
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

    def read(self, listen: str, upstream: str) -> tuple[Endpoint, Upstream]:
        """Both ends of a proxy, as clients write them.

        Raises:
            Refused: one of them is wrong, or not for this relay.
        """
        if listen.startswith(":"):
            listen = f"0.0.0.0{listen}"  # as Go writes every address
        try:
            bind, leads = parse_endpoint(listen or _LISTEN, where="listen"), parse_upstream(upstream)
        except ConfigError as error:
            raise Refused(400, str(error), hint=error.hint) from None
        if not (bind.is_loopback or self._beyond_loopback):
            hint = "start the relay with --allow-open to have forwards that every host reaches"
            raise Refused(403, f"listen: {bind} is beyond loopback", hint=hint)
        return bind, leads

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
        bind, leads = self.read(listen, upstream)
        if (bind, leads.text) != (proxy.listen, proxy.upstream.text):
            await self._disable(proxy)
            proxy.listen, proxy.upstream = bind, leads
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

    async def set(self, proxy: Proxy, toxic: AnyToxic) -> None:
        """Give a proxy's flows a toxic, or change it.

        Raises:
            Refused: it is a behaviour that the proxy has by another toxic.
        """
        toxics = {**proxy.toxics, toxic.name: toxic}
        if isinstance(toxic, BehaviourToxic):
            _demand_one_of_each(toxic, proxy.toxics)
            await self._adjust(proxy, toxics)
        elif proxy.enabled:
            await self._relay.carry_out(SetFault(toxic.name, toxic.fault, proxy.listen))
        proxy.toxics = toxics

    async def lift(self, proxy: Proxy, toxic: AnyToxic) -> None:
        """Take a toxic away."""
        toxics = {name: each for name, each in proxy.toxics.items() if name != toxic.name}
        if isinstance(toxic, BehaviourToxic):
            await self._adjust(proxy, toxics)
        elif proxy.enabled:
            await self._relay.carry_out(LiftFault(toxic.name, proxy.listen))
        proxy.toxics = toxics

    async def _adjust(self, proxy: Proxy, toxics: Mapping[str, AnyToxic]) -> None:
        if proxy.enabled:
            await self._relay.carry_out(AdjustForward(proxy.listen, proxy.settings_with(toxics)))

    async def _enable(self, proxy: Proxy) -> None:
        if proxy.enabled:
            return
        try:
            spec = ForwardSpec(proxy.listen, proxy.upstream.target, proxy.settings_with(proxy.toxics))
            proxy.listen = await self._relay.carry_out(OpenForward(spec))
        except ConfigError as error:
            raise Refused(500, str(error).replace("bind: ", "listen: ", 1), hint=error.hint) from None
        proxy.enabled = True
        for toxic in proxy.toxics.values():
            if not isinstance(toxic, BehaviourToxic):
                await self._relay.carry_out(SetFault(toxic.name, toxic.fault, proxy.listen))

    async def _disable(self, proxy: Proxy) -> None:
        if proxy.enabled:
            proxy.enabled = False
            await self._relay.carry_out(CloseForward(proxy.listen))


def _demand_one_of_each(toxic: BehaviourToxic, beside: Mapping[str, AnyToxic]) -> None:
    for other in beside.values():
        if isinstance(other, BehaviourToxic) and (other.behaviour, other.name != toxic.name) == (toxic.behaviour, True):
            hint = f"change that one: POST .../toxics/{other.name}"
            raise Refused(409, f"the proxy has {toxic.behaviour} by its toxic {other.name!r}", hint=hint)
