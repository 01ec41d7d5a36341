"""A connection that a SOCKS client has waited for, by BIND: its peer has opened it, and is its initiator."""

from __future__ import annotations

from relay.address import Endpoint
from relay.events import DialFailure, FailureKind, Side
from relay.frontends._api import Conversation
from relay.legs import Leg
from relay.legs.ending import wind_down

_NOT_GIVEN = DialFailure(FailureKind.OTHER, "the peer was connected, and the relay has ended that")


class BoundConnection:
    """The peer is accepted already, so a grant sends nothing and a refusal is a RST; see `PendingConnection`.

    Its client has a connection of its own to the relay, and gets the second reply there.
    """

    initiator = Side.EXTERNAL
    early_data = b""
    codec = None

    def __init__(self, leg: Leg, client_leg: Leg, conversation: Conversation, client_data: bytes) -> None:
        """`client_data` is what the client has sent behind its request."""
        self.leg = leg
        self._client_leg: Leg | None = client_leg
        self.client_data = client_data
        self.via = f"{conversation.via}-bind"
        self.destination = client_leg.peer or Endpoint("0.0.0.0", 0)
        self._conversation = conversation

    def grant(self, bound: Endpoint | None) -> None:
        pass

    def refuse(self, failure: DialFailure) -> None:
        self.leg.reset()

    def send_through(self, leg: Leg) -> None:
        self.leg = leg

    def ignore(self, *, once: bool) -> None:
        pass

    def next_request(self) -> BoundConnection:
        raise AssertionError("a connection that was waited for has one request")

    def hand_client_over(self) -> Leg | None:
        """Give the client its second reply, that its peer has connected, and return its leg; None if that is gone."""
        leg, self._client_leg = self._client_leg, None
        if leg is not None:
            leg.write(self._conversation.grant(self.leg.peer))
            self._conversation.forget_words()
        return leg

    def turn_client_away(self) -> None:
        """Give the client its second reply, that the peer's connection has ended, if it has got none yet."""
        leg, self._client_leg = self._client_leg, None
        if leg is not None:
            leg.write(self._conversation.refuse(_NOT_GIVEN) or b"")
            wind_down(leg)
