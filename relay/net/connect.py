"""From a destination to a connection: overrides, literals, the resolver, then the dial.

The relay denies a destination that is one of its own listening addresses: each connection to it would open another.
"""

from __future__ import annotations

import ipaddress
import socket
from collections.abc import Callable, Iterable
from functools import lru_cache, partial
from typing import TypeAlias

import anyio

from relay.address import Endpoint, ResolveOverride
from relay.errors import ConfigError
from relay.events import DialFailure, FailureKind, Side
from relay.loop.engine import Engine
from relay.loop.timers import Timer
from relay.net.abilities import NO_ABILITIES, Abilities
from relay.net.dial import Address, Dial
from relay.net.kernel_leg import KernelLeg
from relay.net.resolve import Resolver, address_of, addresses_of

_Ip: TypeAlias = ipaddress.IPv4Address | ipaddress.IPv6Address


def demand_own(source: str) -> None:
    """Refuse a source address from which the relay cannot dial.

    Raises:
        ConfigError: it is not one of this host's addresses.
    """
    if not _is_local(ipaddress.ip_address(source)):
        raise ConfigError(f"--source: {source} is not this host's", hint="give one of this host's addresses")


def host_of(client: Endpoint | None) -> str:
    """The host that a client is on; the same for all that are gone."""
    return client.host if client is not None else ""


class Connector:
    """Opens a relay's outgoing connections."""

    def __init__(
        self,
        engine: Engine,
        *,
        overrides: Iterable[ResolveOverride],
        source: str | None,
        timeout_s: float,
        abilities: Abilities = NO_ABILITIES,
    ) -> None:
        self.timeout_s = timeout_s
        """How long a connection may take, its name's resolution included."""
        self._engine = engine
        self.abilities = abilities
        """What this host's providers add to its legs."""
        self._overrides = {(override.name, override.port): override.address for override in overrides}
        self.source = source
        """The address to send from; None: the host's routes choose."""
        self.resolver = Resolver()
        """Looks up the addresses of names."""
        self.own_addresses: set[Endpoint] = set()
        """Where this relay listens."""
        self.own_datagram_addresses: set[Endpoint] = set()
        """Where this relay takes its clients' datagrams."""

    def resolve_as(self, override: ResolveOverride) -> None:
        """Answer a name from this override from now on, without a resolver."""
        self._overrides[override.name, override.port] = override.address

    def reaches(self, destination: Endpoint, side: Side) -> bool:
        """Any destination, as far as this host does."""
        return True

    def connect(
        self,
        destination: Endpoint,
        side: Side,
        connected: Callable[[KernelLeg, Endpoint], None],
        failed: Callable[[DialFailure], None],
        client: Callable[[], Endpoint | None],
    ) -> Connecting:
        """Begin to connect toward a side; exactly one of `connected` and `failed` is called, later.

        After the result's `abandon` neither is called. The callee that gets a leg sets its owner before it returns.
        `client` tells on whose behalf a name is looked up.
        """
        return Connecting(
            self, self._engine, destination, partial(self._hand_over, side, connected, failed), failed, client
        )

    def known(self, destination: Endpoint) -> list[Address] | None:
        """Return its addresses if that takes no look-up."""
        host = destination.host
        if self._overrides:
            host = self._overrides.get((host.lower(), destination.port), host)
        address = _address(host, destination.port)
        return None if address is None else [address]

    async def answer(self, host: str, client: str, *, reverse: bool) -> str | None:
        """Answer a client that asks only for a name's address, or an address's name. The relay's overrides come first.

        Of several addresses this is the first IPv4 one: the reply has room for one, and some clients take no IPv6.
        """
        if reverse:
            asked = Endpoint(host, 0).ip
            ours = [name for (name, _), address in self._overrides.items() if Endpoint(address, 0).ip == asked]
            return next(iter(ours or await self.resolver.look_up_name(host, client)), None)
        ours = [address for (name, _), address in self._overrides.items() if name == host.lower()]
        literal = _literal(ours[0] if ours else host)
        if literal is not None:
            return literal
        found = [target.host for _, target in await self.resolver.look_up(Endpoint(host, 0), client)]
        return next((address for address in found if ":" not in address), found[0] if found else None)

    def dial(
        self,
        addresses: list[Address],
        timeout_s: float,
        connected: Callable[[socket.socket, Endpoint], None],
        failed: Callable[[DialFailure], None],
    ) -> Dial:
        return Dial(
            self._engine, addresses, timeout_s=timeout_s, source=self.source, connected=connected, failed=failed
        )

    def _hand_over(
        self,
        side: Side,
        connected: Callable[[KernelLeg, Endpoint], None],
        failed: Callable[[DialFailure], None],
        sock: socket.socket,
        address: Endpoint,
    ) -> None:
        try:
            leg = KernelLeg(self._engine, sock, side, abilities=self.abilities)
        except OSError as error:
            failed(DialFailure(FailureKind.EXHAUSTED, f"{address} cannot be watched: {error.strerror}"))
            return
        connected(leg, address)

    def is_own(self, target: Endpoint, among: Iterable[Endpoint] | None = None) -> bool:
        """Whether the relay itself listens there, or at one of these addresses."""
        for own in self.own_addresses if among is None else among:
            if own.port == target.port:
                reached = _reached(target.host)
                if reached is not None and _accepts(own.ip, reached):
                    return True
        return False


class Connecting:
    """One connection in the making, its name's resolution included."""

    __slots__ = ("_abandoned", "_connected", "_connector", "_destination", "_dial", "_engine", "_failed", "_lookup")

    def __init__(
        self,
        connector: Connector,
        engine: Engine,
        destination: Endpoint,
        connected: Callable[[socket.socket, Endpoint], None],
        failed: Callable[[DialFailure], None],
        client: Callable[[], Endpoint | None],
    ) -> None:
        self._connector = connector
        self._engine = engine
        self._destination = destination
        self._connected = connected
        self._failed = failed
        self._dial: Dial | None = None
        self._lookup: anyio.CancelScope | None = None
        self._abandoned = False
        addresses = connector.known(destination)
        if addresses is None:
            engine.spawn(self._look_up, host_of(client()), engine.call_later(connector.timeout_s, self._time_out))
        else:
            self._start(addresses, connector.timeout_s)

    def abandon(self) -> None:
        """Give up; neither callback is called."""
        self._abandoned = True
        if self._lookup is not None:
            self._lookup.cancel()
        if self._dial is not None:
            self._dial.abandon()

    async def _look_up(self, client: str, timer: Timer) -> None:
        if not self._abandoned:
            with anyio.CancelScope() as self._lookup:
                addresses = await self._connector.resolver.look_up(self._destination, client)
                self._start(addresses, timer.due_s - self._engine.now_s())
        timer.cancel()

    def _time_out(self) -> None:
        self.abandon()
        host, timeout_s = self._destination.host, self._connector.timeout_s
        self._failed(DialFailure(FailureKind.TIMED_OUT, f"{host} was not resolved within {timeout_s:g} s"))

    def _start(self, addresses: list[Address], timeout_s: float) -> None:
        if self._abandoned:
            return
        if not addresses:
            self._fail_soon(DialFailure(FailureKind.NOT_RESOLVED, self._destination.host))
        elif any(map(self._connector.is_own, [target for _, target in addresses])):
            self._fail_soon(DialFailure(FailureKind.DENIED, f"{self._destination} is this relay itself"))
        else:
            self._dial = self._connector.dial(addresses, timeout_s, self._connected, self._failed)

    def _fail_soon(self, failure: DialFailure) -> None:
        self._engine.call_soon(lambda: None if self._abandoned else self._failed(failure))


@lru_cache(1024)
def _literal(host: str) -> str | None:
    """What an address literal stands for, however it is spelt (`127.1`, `2130706433`); None for a name."""
    try:
        return addresses_of(host, socket.AI_NUMERICHOST)[0]
    except (OSError, UnicodeError):
        return None


@lru_cache(1024)
def _address(host: str, port: int) -> Address | None:
    """An address literal and a port, as they are dialled; None for a name."""
    literal = _literal(host)
    return None if literal is None else address_of(literal, port)


@lru_cache(1024)
def _reached(host: str) -> _Ip | None:
    """The address that a connect to this one reaches: 0.0.0.0 reaches the loopback, and IPv6 can spell IPv4."""
    ip = Endpoint(host, 0).ip
    if isinstance(ip, ipaddress.IPv6Address) and ip.ipv4_mapped is not None:
        ip = ip.ipv4_mapped
    if ip is not None and ip.is_unspecified:
        ip = ipaddress.ip_address("127.0.0.1" if ip.version == 4 else "::1")
    return ip


def _accepts(listening: _Ip | None, reached: _Ip) -> bool:
    """Whether a listener at the first address accepts connections to the second."""
    if listening is None or listening.version != reached.version:
        return False
    return listening == reached or (listening.is_unspecified and _is_local(reached))


def _is_local(ip: _Ip) -> bool:
    """Whether the address is one of this host's: a socket can be bound to those alone."""
    try:
        with socket.socket(socket.AF_INET if ip.version == 4 else socket.AF_INET6, socket.SOCK_DGRAM) as probe:
            probe.bind((str(ip), 0))
    except OSError:
        return False
    return True
