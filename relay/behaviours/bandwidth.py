"""A narrow line."""

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
class Bandwidth(Behaviour):
    """Let at most `rate_bytes_per_s` bytes pass in a second, for each connection and each way.

    Source: none, for it is a fault made on purpose.
    """

    rate_bytes_per_s: float = setting(
        1e6, low=1, high=1e10, unit="bytes a second", doc="how many bytes pass in a second"
    )
    direction: str = direction_setting()

    def wants(self) -> Iterable[Want]:
        return ()

    def on_dial_succeeded(self, event: DialSucceeded) -> Actions:
        yield from shaped(self.direction, Shape(rate_bytes_per_s=self.rate_bytes_per_s))
