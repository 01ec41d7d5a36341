"""Only so many connections at once: a NAT's ports, or the entries of its table."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from relay.abilities import Ability, Want
from relay.actions import GiveSlot, Ignore, Per, Refuse, TakeSlot
from relay.behaviours._api import Actions, Behaviour
from relay.behaviours._surplus import no_slot, silence_setting
from relay.events import ConnectRequested, FinReceived, RstReceived, Side, SlotDenied
from relay.settings import setting

_POOL = "flows"


@dataclass
class FlowLimit(Behaviour):
    """Have at most `max_flows` connections, to one destination or to all of them.

    A connection counts from its request to its end, and where ports rest for a while longer: after its second FIN, or
    a RST. A destination is the name or address, and the port, that was asked for.

    Source: https://repost.aws/knowledge-center/vpc-troubleshoot-nat-gateway-connection: 55,000 connections to each
    destination; the next one fails.
    """

    max_flows: int = setting(55_000, low=1, high=10_000_000, doc="how many connections there may be at once")
    per: str = setting("destination", choices=("destination", "relay"), doc="to each destination, or in all")
    surplus: str = setting(
        "silence", choices=("silence", "refuse"), doc="what the next one gets: no answer, or a refusal at once"
    )
    hold_after_fin_s: float = setting(
        0.0, low=0, high=86_400, doc="how long a connection counts after FIN from both sides, in s"
    )
    hold_after_rst_s: float = setting(0.0, low=0, high=86_400, doc="the same, in s, after a RST from either")
    silence_s: float = silence_setting()

    def __post_init__(self) -> None:
        self._finished: Side | None = None

    def wants(self) -> Iterable[Want]:
        yield from (Want(Ability.HANDSHAKE), Want(Ability.CLOSE))

    def on_connect_requested(self, event: ConnectRequested) -> Actions:
        per: Per = "relay" if self.per == "relay" else "destination"
        yield TakeSlot(_POOL, self.max_flows, per)

    def on_slot_denied(self, event: SlotDenied) -> Actions:
        if self.surplus == "refuse":
            where = "" if self.per == "relay" else " to this destination"
            yield Refuse(no_slot(f"{self.max_flows} connections{where} are open, or count still"))
        else:
            yield Ignore(self.silence_s, once=True)

    def on_fin_received(self, event: FinReceived) -> Actions:
        if self.hold_after_fin_s and self._finished is event.side.other:
            yield GiveSlot(_POOL, self.hold_after_fin_s)
        self._finished = event.side

    def on_rst_received(self, event: RstReceived) -> Actions:
        if self.hold_after_rst_s:
            yield GiveSlot(_POOL, self.hold_after_rst_s)
