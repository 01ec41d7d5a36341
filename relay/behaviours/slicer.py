"""Bytes that come in small pieces."""

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
class Slicer(Behaviour):
    """Send at most `slice_bytes` at once, with a pause behind each slice: a reader that expects whole messages fails.

    Source: none, for it is a fault made on purpose.
    """

    slice_bytes: int = setting(1, low=1, high=1_000_000, doc="how many bytes pass at once, at most")
    pause_s: float = setting(0.01, low=0, high=3600, doc="the time between two slices, in s; with 0 they may join")
    variation_bytes: int = setting(
        0, low=0, high=1_000_000, doc="by how many bytes a slice is smaller or larger at most, by chance"
    )
    direction: str = direction_setting()

    def wants(self) -> Iterable[Want]:
        return ()

    def on_dial_succeeded(self, event: DialSucceeded) -> Actions:
        shape = Shape(
            slice_bytes=self.slice_bytes, slice_delay_s=self.pause_s, slice_variation_bytes=self.variation_bytes
        )
        yield from shaped(self.direction, shape)
