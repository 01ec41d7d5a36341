"""The phase in which a flow's behaviours are chosen, where some have conditions."""

from __future__ import annotations

from typing import TYPE_CHECKING

from relay.events import Side
from relay.frontends import PendingConnection

if TYPE_CHECKING:
    from relay.driver.flow import Flow


class Recognising:
    """Waits for the name of the app's process, if a condition needs it; see `relay.driver.phase.Phase`."""

    __slots__ = ("_flow", "_pending")

    def __init__(self, flow: Flow, pending: PendingConnection) -> None:
        self._flow = flow
        self._pending = pending

    def begin(self) -> None:
        """Choose, now or once the process is known, and go on."""
        flow = self._flow
        if not (flow.profile.lineup.names_process and flow.log.once_named(flow.guarded(self._choose))):
            self._choose()

    def on_leg_ready(self) -> None:
        pass

    def leave(self) -> None:
        pass

    def _choose(self) -> None:
        flow, leg = self._flow, self._pending.leg
        if flow.phase is not self:
            return
        lineup = flow.driver.choosing.choose(flow, self._pending.destination)
        flow.machine.go_on_with(lineup)
        if lineup.wants != flow.profile.wants and leg.side is Side.INTERNAL:
            leg.watch(lineup.wants, flow)
        flow.begin_dialling(self._pending)
