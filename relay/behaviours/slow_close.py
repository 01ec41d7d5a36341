"""An end that comes late."""

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
class SlowClose(Behaviour):
    """Deliver FIN and RST later than the bytes before them.

    Source: none, for it is a fault made on purpose.
    """

    delay_s: float = setting(1.0, low=0, high=3600, doc="how much later an end arrives than the last bytes, in s")
    direction: str = direction_setting()

    def wants(self) -> Iterable[Want]:
        return ()

    def on_dial_succeeded(self, event: DialSucceeded) -> Actions:
        yield from shaped(self.direction, Shape(end_delay_s=self.delay_s))
