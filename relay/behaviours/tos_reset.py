"""The reset that killed ssh and git: a segment's precedence differs from its SYN's."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from relay.abilities import Ability, Want
from relay.actions import SendFin, SendRst, StartTimer
from relay.behaviours._api import Actions, Behaviour
from relay.events import Side, TimerFired, TosChanged
from relay.settings import setting


@dataclass(frozen=True)
class TosReset(Behaviour):
    """Reset the flow when a segment's IP precedence differs from its SYN's (RFC 793 p. 71; withdrawn by RFC 2873).

    The app is reset at once, the offending segment's data and ACK are lost, and the server sees an orderly close a
    moment later: VMware's NAT closes its own socket when its retransmission to the guest is answered with a reset.
    The reference is the SYN's byte, not the last segment's. IPv4 only: IPv6 has no precedence.

    Source: an ssh session behind VMware Fusion 11, May 2019. TOS 0x48 in frame 35, RST 70 us later in frame 36, FIN
    toward the server 105 ms after its last data. 0x48 and 0x20 after the SYN are reset; 0x10, 0x08, and 0x48 in SYN and
    segment alike, are not: of all masks only those of the precedence bits fit.
    """

    mask: int = setting(
        0xE0, low=0x01, high=0xFF, doc="bits of the TOS byte that must equal the SYN's; 0xE0 is RFC 791's precedence"
    )
    external_close_delay_ms: int = setting(
        105, low=0, high=60_000, doc="how long after the reset the server gets a FIN"
    )

    def wants(self) -> Iterable[Want]:
        yield Want(Ability.TOS, mask=self.mask)

    def on_tos_changed(self, event: TosChanged) -> Actions:
        if event.side is not Side.INTERNAL:
            return
        if event.new is None or (event.new ^ event.syn) & self.mask:
            yield SendRst(Side.INTERNAL)
            yield StartTimer("external-close", self.external_close_delay_ms / 1000)

    def on_timer_fired(self, event: TimerFired) -> Actions:
        yield SendFin(Side.EXTERNAL)
