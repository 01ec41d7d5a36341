"""A RST out of nowhere, on a connection that was healthy."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from relay.abilities import Want
from relay.actions import StartTimer
from relay.behaviours._api import Actions, Behaviour
from relay.behaviours._ends import end_setting, ends, wants_of_ends
from relay.events import DialSucceeded, TimerFired
from relay.settings import setting


@dataclass
class StrayReset(Behaviour):
    """Reset a share of the connections, each at some moment soon after it began.

    Source: https://github.com/kubernetes/kubernetes/issues/74839: conntrack takes a segment for invalid, it is passed
    on without translation, and the RST that answers it ends the connection, most often one with much to carry.
    """

    draws = True

    share: float = setting(0.0, low=0, high=1, doc="which share of the connections, from 0 to 1")
    within_s: float = setting(10.0, low=0, high=86_400, doc="how long after the dial at most, in s")
    internal: str = end_setting("rst", doc="what the app gets: nothing, RST on its next segment, RST, FIN")
    external: str = end_setting("rst", doc="what the server gets")
    silence_s: float = setting(900.0, low=1, high=86_400, doc="how long a silence lasts, in s, before a reset")

    def wants(self) -> Iterable[Want]:
        yield from wants_of_ends(self.internal, self.external)

    def on_dial_succeeded(self, event: DialSucceeded) -> Actions:
        if self.share and self.chance() < self.share:
            yield StartTimer("stray", self.within_s * self.chance())

    def on_timer_fired(self, event: TimerFired) -> Actions:
        yield from ends(self.internal, self.external, self.silence_s)
