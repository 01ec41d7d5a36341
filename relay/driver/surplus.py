"""Connections beyond `--max-flows`: the relay refuses each in its own protocol, and closes it.

A client understands a refusal in words only once it has asked. So the relay reads a surplus connection like any other:
up to its request, within the same limit of time. It is no flow: no behaviour sees it and nothing is dialled. A
connection without such words (a port forward) is reset at once, and so is each that comes while `_MAX_HEARD` others are
being read. That bounds what callers can make the relay hold, whether they send anything or not.
"""

from __future__ import annotations

from relay.driver.handshaking import converse
from relay.events import DialFailure, FailureKind
from relay.frontends import Conversation
from relay.legs import Leg
from relay.legs.ending import wind_down
from relay.log import EventLog
from relay.loop.engine import Engine
from relay.loop.timers import Timer

_MAX_HEARD = 64  # at once, those included that have their answer and have not closed yet


class Surplus:
    """Turns away the connections for which there is no room."""

    def __init__(self, engine: Engine, log: EventLog, handshake_timeout_s: float) -> None:
        self._engine = engine
        self._log = log
        self._handshake_timeout_s = handshake_timeout_s
        self._heard: list[Leg] = []

    def turn_away(self, leg: Leg, conversation: Conversation, max_flows: int) -> None:
        """Refuse a connection that was just accepted, and say so in the event log."""
        reason = f"{max_flows} flows are open, as many as --max-flows allows"
        self._log.emit("flow-refused", client=str(leg.peer or "a client that is gone"), reason=reason)
        failure = DialFailure(FailureKind.EXHAUSTED, reason)
        hearing = _Hearing(conversation, failure)
        leg.owner = hearing
        if len(self._heard) >= _MAX_HEARD:
            self._heard = [each for each in self._heard if not each.closed]
        if conversation.request is not None or len(self._heard) >= _MAX_HEARD:
            leg.reset()
            return
        self._heard.append(leg)
        hearing.timer = self._engine.call_later(self._handshake_timeout_s, lambda: wind_down(leg))


class _Hearing:
    """One surplus connection: listens until the request is there, or never will be."""

    def __init__(self, conversation: Conversation, failure: DialFailure) -> None:
        self._conversation = conversation
        self._failure = failure
        self.timer: Timer

    def on_leg_ready(self, leg: Leg) -> None:
        no_request = converse(leg, self._conversation)
        if self._conversation.request is not None:
            leg.write(self._conversation.refuse(self._failure) or b"")
        elif no_request is None:
            return
        self.timer.cancel()
        wind_down(leg)
