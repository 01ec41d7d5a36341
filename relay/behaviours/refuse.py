"""A server that cannot be reached, though it can."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from relay import actions
from relay.abilities import Ability, Want
from relay.behaviours._api import Actions, Behaviour
from relay.events import ConnectRequested, DialFailure, FailureKind
from relay.settings import setting

_KINDS = {
    "refused": FailureKind.REFUSED,
    "unreachable": FailureKind.HOST_UNREACHABLE,
    "timed-out": FailureKind.TIMED_OUT,
    "not-resolved": FailureKind.NOT_RESOLVED,
}


@dataclass
class Refuse(Behaviour):
    """Refuse connections, or leave them unanswered, and open none to their server.

    Source: none, for it is a fault made on purpose.
    """

    aliases = ("refuse-dial",)
    draws = True

    share: float = setting(1.0, low=0, high=1, doc="which share of the connections, from 0 to 1")
    failure: str = setting("refused", choices=(*_KINDS, "silence"), doc="what the app gets: an error, or nothing")
    silence_s: float = setting(130.0, low=1, high=86_400, doc="how long a silence lasts, in s, before a reset")

    def wants(self) -> Iterable[Want]:
        yield Want(Ability.HANDSHAKE)

    def on_connect_requested(self, event: ConnectRequested) -> Actions:
        if self.share < 1 and self.chance() >= self.share:
            return
        yield actions.AbandonDial()
        if self.failure == "silence":
            yield actions.Ignore(self.silence_s)
        else:
            failure = DialFailure(_KINDS[self.failure], f"{self.failure}, by {self.name}")
            yield actions.Refuse(failure, instead=True)
