"""The phase in which an initiator says what it wants, by a conversation of its front end."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, NamedTuple

from relay.causes import Cause
from relay.errors import ProtocolError
from relay.events import FinReceived
from relay.frontends import Conversation, ConversedConnection
from relay.legs import BROKEN, Leg

if TYPE_CHECKING:
    from relay.driver.flow import Flow

HANDSHAKE = "handshake"
"""The timer that limits how long a head or a handshake may take."""


class Handshaking:
    """Reads the initiator's leg for its conversation; see `relay.driver.phase.Phase`."""

    __slots__ = ("_conversation", "_flow", "_leg")

    def __init__(self, flow: Flow, leg: Leg, conversation: Conversation) -> None:
        self._flow = flow
        self._leg = leg
        self._conversation = conversation

    def begin(self) -> None:
        """Wait for the request, within the handshake's limit; a forward has it from the first."""
        if self._conversation.request is not None:
            self._ask()
        else:
            limit_handshake(self._flow)

    def on_leg_ready(self) -> None:
        flow, conversation = self._flow, self._conversation
        no_request = converse(self._leg, conversation)
        if flow.phase is not self:
            return
        if no_request is not None:
            if no_request.left == BROKEN:
                flow.machine.observe(flow.legs.what_broke(self._leg, flow.now_s()))
            elif no_request.left is not None:
                flow.machine.observe(FinReceived(flow.now_s(), self._leg.side))
            turn_away(flow, no_request.reason, Cause.HANDSHAKE_FAILED)
        elif conversation.question is not None:
            flow.ask(self._leg, conversation)
        elif conversation.request is not None:
            self._ask()

    def _ask(self) -> None:
        self._flow.dial(ConversedConnection(self._leg, self._conversation))

    def leave(self) -> None:
        pass


class NoRequest(NamedTuple):
    """Why a conversation gets no request."""

    reason: str
    left: int | None = None
    """What the last read gave where the initiator has left: 0, or `BROKEN`."""


def converse(leg: Leg, conversation: Conversation) -> NoRequest | None:
    """Let a conversation go on until it has its request; returns why it gets none, if so."""
    buffer = leg.loop.buffer
    while leg.readable and not leg.frozen and conversation.request is None:
        count = leg.receive_into(buffer)
        if count > 0:
            try:
                leg.write(conversation.receive_data(bytes(buffer[:count])))
            except ProtocolError as error:
                leg.write(error.reply)
                return NoRequest(str(error))
        elif count == 0:
            return NoRequest("it closed the connection", count)
        elif count == BROKEN:
            return NoRequest("it reset the connection", count)
    return None


def limit_handshake(flow: Flow) -> None:
    """Turn the initiator away unless its handshake, or its next request's head, is whole within the limit."""
    flow.start_timer(HANDSHAKE, flow.driver.limits.handshake_timeout_s, partial(_turn_away_late, flow))


def _turn_away_late(flow: Flow) -> None:
    limit_s = flow.driver.limits.handshake_timeout_s
    turn_away(flow, f"no request within {limit_s:g} s", Cause.HANDSHAKE_LIMIT)


def turn_away(flow: Flow, reason: str, because: Cause) -> None:
    """End a flow whose initiator has made no request."""
    flow.log.write("handshake-failed", client=flow.client, reason=reason)
    flow.give_up(because, in_order=flow.driver.lets_linger(flow.initiator_leg))
