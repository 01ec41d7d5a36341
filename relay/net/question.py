"""Looks up the address of a name, or the name of an address, for a client that asks for no connection."""

from __future__ import annotations

from collections.abc import Callable

import anyio

from relay.events import DialFailure, FailureKind
from relay.loop.engine import Engine
from relay.net.connect import Connector


class Question:
    """One question. Unless it is abandoned, it calls `answered` once, later, with the answer or the failure."""

    __slots__ = ("_answered", "_connector", "_host", "_over", "_scope", "_timer")

    def __init__(
        self,
        engine: Engine,
        connector: Connector,
        host: str,
        answered: Callable[[str | DialFailure], None],
        *,
        client: str,
        reverse: bool,
    ) -> None:
        self._connector = connector
        self._host = host
        self._answered = answered
        self._over = False
        self._scope: anyio.CancelScope | None = None
        self._timer = engine.call_later(connector.timeout_s, self._time_out)
        engine.spawn(self._ask, client, reverse)

    def abandon(self) -> None:
        """Give up; `answered` is not called."""
        self._over = True
        self._timer.cancel()
        if self._scope is not None:
            self._scope.cancel()

    async def _ask(self, client: str, reverse: bool) -> None:
        if self._over:
            return
        with anyio.CancelScope() as self._scope:
            answer = await self._connector.answer(self._host, client, reverse=reverse)
            self._timer.cancel()
            self._answered(answer or DialFailure(FailureKind.NOT_RESOLVED, self._host))

    def _time_out(self) -> None:
        self.abandon()
        self._answered(DialFailure(FailureKind.TIMED_OUT, self._host))
