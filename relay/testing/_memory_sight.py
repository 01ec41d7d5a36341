"""What a leg in memory sees of its peer's segments: the TOS byte, and keepalive probes.

A change of the byte, if it is wanted, is seen before the bytes that come with it. Those are withheld, by a window that
is closed, until the witness knows of the change.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import TYPE_CHECKING

from relay.abilities import Ability, Want, tos_mask
from relay.events import Event, ProbeArrived, TosChanged
from relay.legs import Witness

if TYPE_CHECKING:
    from relay.testing._memory_leg import MemoryLeg

_PROBES = frozenset({Ability.KEEPALIVE, Ability.KEEPALIVE_ANSWER, Ability.IDLENESS})


class Sight:
    """What one leg sees, as long as it is watched."""

    def __init__(self, leg: MemoryLeg) -> None:
        self._leg = leg
        self._wants: Collection[Want] = ()
        self._witness: Witness | None = None
        self._seen_tos = 0
        self.withholds = False
        """Whether a segment waits until the witness knows its TOS byte."""

    def watch(self, wants: Collection[Want], witness: Witness) -> None:
        """See what is wanted from now on."""
        self._wants, self._witness = wants, witness
        self._let_through()

    def unwatch(self) -> None:
        """See nothing more; what is withheld stays so."""
        self._wants = ()

    @property
    def leaves_answers_to_server(self) -> bool:
        """Whether a probe is to be answered once the server has answered one, not at once."""
        return Want(Ability.KEEPALIVE_ANSWER, by="server") in self._wants

    def see_tos(self, tos: int) -> None:
        """A segment of the peer's comes with this byte."""
        mask = tos_mask(self._wants)
        if mask and tos != self._seen_tos and not (self._leg.hears_nothing or self.withholds):
            old, self._seen_tos = self._seen_tos, tos
            self.withholds = bool(tos & mask)
            self._leg.loop.call_soon(lambda: self._tell_of_tos(old, tos))

    def see_probe(self, answered: bool) -> None:
        """A keepalive probe has arrived."""
        self._leg.loop.call_soon(lambda: self._tell_of_probe(answered))

    def _tell_of_tos(self, old: int, tos: int) -> None:
        self._tell(TosChanged(self._leg.loop.now_s(), self._leg.side, 0, old, tos), withheld=self.withholds)
        if self._wants:
            self._let_through()

    def _tell_of_probe(self, answered: bool) -> None:
        if any(want.ability in _PROBES for want in self._wants):
            self._tell(ProbeArrived(self._leg.loop.now_s(), self._leg.side, answered), withheld=False)

    def _tell(self, event: Event, *, withheld: bool) -> None:
        if self._wants and self._witness is not None:
            self._witness.on_leg_saw(event, withheld)

    def _let_through(self) -> None:
        self.withholds = False
        self._leg.other.call_flush()
