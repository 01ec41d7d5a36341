"""How connections are asked for: a conversation per accepted connection, free of I/O.

The driver feeds a conversation what the opener sends until it has a `request`, and later asks it how a grant or a
refusal is worded. A port forward's conversation has its request from the start and nothing to say.
"""

from __future__ import annotations

from typing import Protocol

from relay.address import Endpoint
from relay.events import DialFailure, Side
from relay.protocols import HttpExchange, Resolve


class Conversation(Protocol):
    """One opener's way of asking for a connection."""

    @property
    def opener(self) -> Side:
        """Which side opened the connection: the internal one, but for inbound forwards."""

    @property
    def via(self) -> str:
        """The protocol or forward, for the event log."""

    @property
    def request(self) -> Endpoint | None:
        """The destination, once it is known."""

    @property
    def question(self) -> Resolve | None:
        """What the opener asks instead of a connection; its `request` names the host alone then."""

    @property
    def early_data(self) -> bytes:
        """What came behind the request, for the destination."""

    @property
    def codec(self) -> HttpExchange | None:
        """Rewrites what passes, where the protocol wants that."""

    def receive_data(self, data: bytes) -> bytes:
        """Take in what the opener sent; returns what it is to be answered.

        Raises:
            ProtocolError: with the reply that the opener is owed.
        """

    def grant(self, bound: Endpoint | None) -> bytes:
        """The words for: connected, from this address of ours. To a `question`: the answer, with port 0."""

    def refuse(self, failure: DialFailure) -> bytes | None:
        """The words for: not connected, and why. None where only a RST can say so."""

    def forget_words(self) -> None:
        """The request was answered, and no codec is at work: let go of what it took to understand it."""

    def redirect(self) -> None:
        """Make the codec's next destination the request."""
