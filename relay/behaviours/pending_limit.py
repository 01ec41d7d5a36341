"""Only so many dials at once; a connection that asks beyond that gets no answer, a refusal, or has to wait."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

from relay.abilities import Ability, Want
from relay.actions import GiveSlot, Ignore, Refuse, TakeSlot
from relay.behaviours._api import Actions, Behaviour
from relay.behaviours._surplus import no_slot, silence_setting
from relay.events import ConnectRequested, DialFailed, DialSucceeded, InitiatorVanished, SlotDenied
from relay.settings import setting

_POOL = "dials"


@dataclass(frozen=True)
class PendingLimit(Behaviour):
    """Have at most `max_pending` dials under way.

    With `leaks` an initiator that goes away before its dial is through keeps its place; a NAT that has lost all of them
    opens no connection any more.

    Source: https://github.com/containers/gvisor-tap-vsock/issues/127: ten connections in the making are the most, the
    SYNs beyond them are dropped, and handshakes that the VM's program abandoned were never struck off.
    """

    max_pending: int = setting(10, low=1, high=65_535, doc="how many dials may be under way at once")
    surplus: str = setting(
        "silence",
        choices=("silence", "refuse", "wait"),
        doc="what the next one gets: no answer, a refusal at once, or its turn when another is through",
    )
    leaks: bool = setting(False, doc="whether an initiator that goes away meanwhile keeps its place, for good")
    silence_s: float = silence_setting()

    def wants(self) -> Iterable[Want]:
        yield Want(Ability.HANDSHAKE)

    def on_connect_requested(self, event: ConnectRequested) -> Actions:
        yield TakeSlot(_POOL, self.max_pending, wait=self.surplus == "wait")

    def on_slot_denied(self, event: SlotDenied) -> Actions:
        if self.surplus == "refuse":
            yield Refuse(no_slot(f"{self.max_pending} dials are under way"))
        else:
            yield Ignore(self.silence_s, once=True)

    def on_initiator_vanished(self, event: InitiatorVanished) -> Actions:
        if self.leaks:
            yield GiveSlot(_POOL, math.inf)

    def on_dial_succeeded(self, event: DialSucceeded) -> Actions:
        yield GiveSlot(_POOL)

    def on_dial_failed(self, event: DialFailed) -> Actions:
        yield GiveSlot(_POOL)
