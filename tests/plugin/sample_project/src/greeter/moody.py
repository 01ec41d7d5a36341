"""A quirk of the greeter's own: half of all connections are refused."""

from __future__ import annotations

from dataclasses import dataclass

from relay.actions import Note
from relay.behaviours import Actions, Behaviour, setting
from relay.events import DialSucceeded


@dataclass
class Moody(Behaviour):
    """Says of every connection whether it likes it."""

    draws = True

    share: float = setting(0.5, low=0, high=1, doc="how many connections it likes, of all")

    def on_dial_succeeded(self, event: DialSucceeded) -> Actions:
        yield Note("liked" if self.chance() < self.share else "disliked")
