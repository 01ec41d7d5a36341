"""A connection that carries only so much."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from relay.abilities import Want
from relay.behaviours._api import Actions, Behaviour
from relay.behaviours._directions import direction_setting, shaped, sides
from relay.behaviours._ends import end_setting, ends, wants_of_ends
from relay.events import DialSucceeded, LimitReached
from relay.settings import setting
from relay.shape import Shape


@dataclass(frozen=True)
class LimitData(Behaviour):
    """End a connection once `after_bytes` have passed one way, after the last of them.

    Source: none, for it is a fault made on purpose.
    """

    after_bytes: int = setting(1_000_000, low=0, high=10**15, doc="how many bytes pass before the end")
    direction: str = direction_setting("to-app")
    internal: str = end_setting("fin", doc="what the app gets: nothing, RST on its next segment, RST, FIN")
    external: str = end_setting("fin", doc="what the server gets")
    silence_s: float = setting(900.0, low=1, high=86_400, doc="how long a silence lasts, in s, before a reset")

    def wants(self) -> Iterable[Want]:
        yield from wants_of_ends(self.internal, self.external)

    def on_dial_succeeded(self, event: DialSucceeded) -> Actions:
        yield from shaped(self.direction, Shape(limit_bytes=self.after_bytes))

    def on_limit_reached(self, event: LimitReached) -> Actions:
        if event.limit_bytes == self.after_bytes and event.side in sides(self.direction):
            yield from ends(self.internal, self.external, self.silence_s)
