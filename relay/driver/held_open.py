"""What associating and binding have in common: a client's connection to the relay keeps a door open for others.

That connection carries nothing itself, and no destination is dialled for it. Its end, by FIN or RST, ends the flow.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING

from relay.causes import Cause
from relay.driver.doors import Door
from relay.events import DialFailure, FinReceived
from relay.frontends import Conversation
from relay.legs import BROKEN, Leg

if TYPE_CHECKING:
    from relay.driver.flow import Flow


class HeldOpen(ABC):
    """A phase that lasts as long as the client's connection; see `relay.driver.phase.Phase`."""

    __slots__ = ("_conversation", "_door", "_flow", "_leg")

    def __init__(self, flow: Flow, leg: Leg, conversation: Conversation) -> None:
        self._flow = flow
        self._leg = leg
        self._conversation = conversation
        self._door: Door | None = None

    @abstractmethod
    def on_leg_ready(self) -> None: ...

    def leave(self) -> None:
        if self._door is not None:
            self._door.close()

    def _take_door(self, client: str) -> bool:
        """Take one of the doors that this client may have; without one left the client is refused."""
        doors = self._flow.driver.doors
        self._door = doors.open(client)
        if self._door is None:
            self._refuse(doors.none_left(client))
        return self._door is not None

    def _refuse(self, failure: DialFailure) -> None:
        """Tell the client why it does not get what it has asked for, and end the flow."""
        self._record_refusal(failure)
        self._leg.write(self._conversation.refuse(failure) or b"")
        self._flow.give_up(Cause.DESTINATION, in_order=True)

    @abstractmethod
    def _record_refusal(self, failure: DialFailure) -> None: ...

    def _end_with_client(self, left: int) -> None:
        """End the flow: the client has left, and `left` is what the read gave, 0 for a FIN or `BROKEN`."""
        flow, leg = self._flow, self._leg
        if left == BROKEN:
            flow.report_broken(leg)
        else:
            flow.take(FinReceived(flow.now_s(), leg.side))
            flow.give_up(Cause.INTERNAL_PEER, in_order=True)
