"""A long way to the server."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from relay.abilities import Want
from relay.behaviours._api import Actions, Behaviour
from relay.behaviours._directions import direction_setting, shaped
from relay.events import DialSucceeded
from relay.settings import setting
from relay.shape import Shape


@dataclass(frozen=True)
class Latency(Behaviour):
    """Deliver everything later: bytes, FIN and RST, in their order.

    With `both`, a request and its answer are late by twice `delay_s`. The handshake is not: it is over by then.

    Source: none, for it is a fault made on purpose.
    """

    delay_s: float = setting(0.1, low=0, high=3600, doc="how much later everything arrives, in s, each way")
    jitter_s: float = setting(0.0, low=0, high=3600, doc="up to so much less or more, in s, for each piece, by chance")
    direction: str = direction_setting()

    def wants(self) -> Iterable[Want]:
        return ()

    def on_dial_succeeded(self, event: DialSucceeded) -> Actions:
        yield from shaped(self.direction, Shape(delay_s=self.delay_s, jitter_s=self.jitter_s))
