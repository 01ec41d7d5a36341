"""A look at the app's TOS byte, and nothing more."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from relay.abilities import Ability, Want
from relay.behaviours._api import Actions, Behaviour
from relay.events import TosChanged
from relay.settings import setting


@dataclass(frozen=True)
class TosWatch(Behaviour):
    """Look for changes of the TOS byte and leave the connection as it is, so that the event log has `tos-changed`.

    No NAT's quirk, and in no profile: for a test that asks whether its program marks packets. The segment that differs
    is taken in when the app's TCP sends it again, after a fifth of a second or so.

    Source: none, for it is the relay's own.
    """

    mask: int = setting(0xFC, low=0x01, high=0xFF, doc="bits of the TOS byte to look at; 0xFC is the DSCP, without ECN")

    def wants(self) -> Iterable[Want]:
        yield Want(Ability.TOS, mask=self.mask)

    def on_tos_changed(self, event: TosChanged) -> Actions:
        return ()
