"""The flow of a connection that a SOCKS client has waited for: an inbound one, whose initiator is the peer.

The behaviours are asked about it as about an inbound forward's. A dial of theirs finds the client connected already.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from relay.address import Endpoint
from relay.driver.carrying import Carrying
from relay.driver.dialling import Dialling
from relay.driver.flow import Flow
from relay.events import Side
from relay.frontends import PendingConnection
from relay.frontends.bound import BoundConnection
from relay.loop.engine import Engine

if TYPE_CHECKING:
    from relay.driver.driver import Driver


class _Carrying(Carrying):
    """Begins with what the client has sent while it waited."""

    __slots__ = ("_client_data",)

    def __init__(self, flow: Flow, pending: BoundConnection) -> None:
        super().__init__(flow, pending)
        self._client_data = pending.client_data

    def begin(self, early: bytes) -> None:
        client_data, self._client_data = self._client_data, b""
        if client_data:
            self._carrier.from_far.hand_on(client_data)
        super().begin(early)


class BoundFlow(Flow):
    """The flow of one such connection."""

    __slots__ = ("_bound",)
    carrying_kind = _Carrying

    def __init__(
        self, driver: Driver, number: int, initiator: Side, forward: Endpoint | None = None, *, bound: BoundConnection
    ) -> None:
        super().__init__(driver, number, initiator, forward)
        self._bound = bound

    def finish(self) -> None:
        super().finish()
        self._bound.turn_client_away()

    def begin_dialling(self, pending: PendingConnection) -> None:
        dialling = self.phase = _ReachingClient(self, self._bound)
        dialling.begin()


class _ReachingClient(Dialling):
    """Waits for the behaviours to have the client's side."""

    __slots__ = ()
    _pending: BoundConnection

    def _connect(self) -> None:
        engine = self._flow.driver.engine
        self._began_s = engine.now_s()
        self._connecting = _Reached(engine, self._flow.guarded(self._on_reached))

    def _on_reached(self) -> None:
        if (leg := self._pending.hand_client_over()) is not None:
            self._on_connected(leg, self._pending.destination)


class _Reached:
    """A dial that has come to its end from the first; it says so later, unless it is abandoned."""

    def __init__(self, engine: Engine, connected: Callable[[], None]) -> None:
        self._connected: Callable[[], None] | None = connected
        engine.call_soon(self._tell)

    def abandon(self) -> None:
        """Say nothing."""
        self._connected = None

    def _tell(self) -> None:
        if self._connected is not None:
            self._connected()
