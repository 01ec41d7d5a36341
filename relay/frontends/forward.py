"""Port forwards: every connection to a port is for one destination.

The kernel accepts the initiator before the relay sees it, so a grant sends nothing and a refusal can only be a RST.
"""

from __future__ import annotations

from relay.address import Endpoint
from relay.events import DialFailure, Side


class ForwardConversation:
    """A connection to a forwarded port; see `Conversation`."""

    __slots__ = ("forward", "initiator", "request")

    question = None
    early_data = b""
    codec = None

    def __init__(self, target: Endpoint, initiator: Side, forward: Endpoint | None = None) -> None:
        self.request: Endpoint | None = target
        self.forward = forward
        self.initiator = initiator

    @property
    def via(self) -> str:
        return "forward" if self.initiator is Side.INTERNAL else "inbound"

    def receive_data(self, data: bytes) -> bytes:
        raise AssertionError("a forward asks for nothing")

    def grant(self, bound: Endpoint | None) -> bytes:
        return b""

    def refuse(self, failure: DialFailure) -> bytes | None:
        return None

    def forget_words(self) -> None:
        pass

    def redirect(self) -> None:
        raise AssertionError("a forward has one destination")
