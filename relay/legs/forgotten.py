"""Forgotten connections on hosts that cannot drop one silently: as near to it as any socket comes.

fall_silent(leg)     read no more: the peer's kernel is acknowledged until the buffer is full, and its probes for ever
reset_on_next(leg)   RST as soon as the peer has sent bytes, a FIN, or a keepalive probe where those are seen
"""

from __future__ import annotations

from collections.abc import Collection

from relay.abilities import Ability, Want
from relay.events import Event
from relay.legs._api import WOULD_BLOCK, Leg

_LEAST_BYTES = 1  # a kernel rounds it up to its own least
_PROBES: Collection[Want] = (Want(Ability.KEEPALIVE),)


class _Silent:
    """Owns a leg whose peer gets no answer."""

    def on_leg_ready(self, leg: Leg) -> None:
        pass


class _ResetsOnNext:
    """Owns a leg whose peer is reset for whatever it sends."""

    def __init__(self, leg: Leg) -> None:
        self._leg = leg

    def on_leg_ready(self, leg: Leg) -> None:
        if leg.readable:
            leg.reset()

    def on_leg_saw(self, event: Event, withheld: bool) -> None:
        self._leg.reset()


def is_forgotten(leg: Leg) -> bool:
    """Whether nothing that a tester or a flow wants of it has any effect."""
    return isinstance(leg.owner, _Silent | _ResetsOnNext)


def fall_silent(leg: Leg) -> None:
    """Have the peer's segments unanswered, as far as the host can."""
    leg.unwatch()
    leg.owner = _Silent()
    if not leg.blackhole(True):
        leg.limit_window(_LEAST_BYTES)
        leg.freeze()


def reset_on_next(leg: Leg) -> None:
    """Have the peer's next segment answered with RST, as far as the host can."""
    if leg.forget():
        return
    owner = _ResetsOnNext(leg)
    leg.owner = owner
    while leg.readable:  # what came before does not count; the read that finds nothing asks for the next edge
        if (count := leg.receive_into(leg.loop.buffer)) <= 0 and count != WOULD_BLOCK:
            leg.reset()
            return
    leg.watch(_PROBES, owner)
