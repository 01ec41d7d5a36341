"""SYNs and DNS questions that get lost on the way, and are repeated a while later."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from relay.abilities import Want
from relay.actions import DelayDial
from relay.behaviours._api import Actions, Behaviour
from relay.events import ConnectRequested
from relay.settings import setting

_MOST_SYNS = 6  # Linux, tcp_syn_retries: so many are repeated


@dataclass
class SlowDial(Behaviour):
    """Dial later, as if the SYN, or the question for the destination's name, had been lost.

    Source: https://github.com/kubernetes/kubernetes/issues/56903: two lookups race for one conntrack entry, one of
    them is dropped, and the resolver asks again 5 s later. The same race drops SYNs.
    """

    draws = True

    delay_s: float = setting(0.0, low=0, high=3600, doc="how much later every dial begins, in s")
    syn_share: float = setting(0.0, low=0, high=1, doc="which share of the SYNs is lost, from 0 to 1")
    by_s: float = setting(1.0, low=0, high=3600, doc="when the SYN is sent again, in s; the next in twice that")
    name_share: float = setting(0.0, low=0, high=1, doc="which share of the names' lookups, from 0 to 1")
    name_by_s: float = setting(5.0, low=0, high=3600, doc="when the question is repeated, in s")

    def wants(self) -> Iterable[Want]:
        return ()

    def on_connect_requested(self, event: ConnectRequested) -> Actions:
        delay_s = self.delay_s
        if self.name_share and event.destination.ip is None and self.chance() < self.name_share:
            delay_s += self.name_by_s
        lost = 0
        while self.syn_share and lost < _MOST_SYNS and self.chance() < self.syn_share:
            delay_s += self.by_s * 2**lost
            lost += 1
        if delay_s:
            yield DelayDial(delay_s)
