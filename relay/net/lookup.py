"""From a destination to its addresses, for what is not dialled: overrides and literals, then the resolver."""

from __future__ import annotations

from collections.abc import Callable

import anyio

from relay.address import Endpoint
from relay.events import DialFailure, FailureKind
from relay.loop.engine import Engine
from relay.net.connect import Connector
from relay.net.dial import Address


class Lookup:
    """One look-up. Unless it is abandoned, it calls `found` once, later, with one address at least, or the failure."""

    __slots__ = ("_connector", "_destination", "_found", "_over", "_scope", "_timer")

    def __init__(
        self,
        engine: Engine,
        connector: Connector,
        destination: Endpoint,
        found: Callable[[list[Address] | DialFailure], None],
        *,
        client: str,
    ) -> None:
        self._connector = connector
        self._destination = destination
        self._found = found
        self._over = False
        self._scope: anyio.CancelScope | None = None
        self._timer = engine.call_later(connector.timeout_s, self._time_out)
        known = connector.known(destination)
        if known is None:
            engine.spawn(self._ask, client)
        else:
            engine.call_soon(lambda: self._end(known))

    def abandon(self) -> None:
        """Give up; `found` is not called."""
        self._over = True
        self._timer.cancel()
        if self._scope is not None:
            self._scope.cancel()

    async def _ask(self, client: str) -> None:
        if self._over:
            return
        with anyio.CancelScope() as self._scope:
            self._end(await self._connector.resolver.look_up(self._destination, client))

    def _end(self, addresses: list[Address]) -> None:
        if not self._over:
            self._timer.cancel()
            self._found(addresses or DialFailure(FailureKind.NOT_RESOLVED, self._destination.host))

    def _time_out(self) -> None:
        self.abandon()
        host, timeout_s = self._destination.host, self._connector.timeout_s
        self._found(DialFailure(FailureKind.TIMED_OUT, f"{host} was not resolved within {timeout_s:g} s"))
