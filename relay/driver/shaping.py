"""Puts an outbox in front of a leg whose sending is to have a shape. Flows without one never have an outbox."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from relay.driver.carrying import Carrying
from relay.driver.chance import draws_of_line
from relay.events import Side
from relay.legs.outbox import Outbox
from relay.shape import PLAIN, Shape

if TYPE_CHECKING:
    from relay.driver.flow import Flow


def set_shape(flow: Flow, side: Side, shape: Shape, because: str) -> None:
    """Have what goes to a side delayed, slowed down or cut up so, beside what other behaviours have asked for."""
    combined = flow.legs.combine_shape(side, shape, because)
    leg = flow.legs[side]
    if not isinstance(leg, Outbox):
        if combined == PLAIN:
            return
        leg = _put_outbox(flow, side)
    leg.set_shape(combined)


def drop_old_shapes(flow: Flow) -> None:
    """End the shapes that a leg has from an earlier flow of the same initiator."""
    for leg in flow.legs:
        if isinstance(leg, Outbox) and not flow.legs.has_shape(leg.side):
            leg.set_shape(PLAIN)


def _put_outbox(flow: Flow, side: Side) -> Outbox:
    driver = flow.driver
    draw = draws_of_line(driver.seed, flow.seeded_number, side)
    outbox = Outbox(flow.legs[side], driver.engine.nat, draw, partial(flow.on_limit, side))
    flow.legs.add(outbox)
    if side is flow.initiator:
        flow.send_words_through(outbox)
    if isinstance(flow.phase, Carrying):
        flow.phase.send_through(outbox)
    return outbox
