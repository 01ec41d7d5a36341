"""A connection whose initiator has made its request, in its protocol."""

from __future__ import annotations

from relay.address import Endpoint
from relay.events import DialFailure, Side
from relay.frontends._api import Conversation
from relay.legs import Leg
from relay.protocols import HttpExchange


class ConversedConnection:
    """Answers in the conversation's words; see `PendingConnection`."""

    __slots__ = ("_conversation", "codec", "destination", "early_data", "initiator", "leg", "via")

    def __init__(self, leg: Leg, conversation: Conversation) -> None:
        """Take over from a conversation that has its request."""
        destination = conversation.request
        assert destination is not None  # noqa: S101 - see above
        self._conversation: Conversation | None = conversation
        self.leg = leg
        self.initiator: Side = conversation.initiator
        self.via = conversation.via
        self.destination: Endpoint = destination
        self.early_data = conversation.early_data
        self.codec: HttpExchange | None = conversation.codec

    def grant(self, bound: Endpoint | None) -> None:
        self.leg.write(self._words.grant(bound))
        if self.codec is None:
            self._words.forget_words()
            self._conversation = None  # an idle flow is to be small

    def refuse(self, failure: DialFailure) -> None:
        words = self._words.refuse(failure)
        if words is None:
            self.leg.reset()
        else:
            self.leg.write(words)
            self.leg.finish()

    def send_through(self, leg: Leg) -> None:
        self.leg = leg

    def ignore(self, *, once: bool) -> None:
        """Say nothing; the leg stays as it is."""

    def next_request(self) -> ConversedConnection:
        conversation = self._words
        conversation.redirect()
        return ConversedConnection(self.leg, conversation)

    @property
    def _words(self) -> Conversation:
        assert self._conversation is not None, "answered already"  # noqa: S101
        return self._conversation
