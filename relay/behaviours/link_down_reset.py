"""Every connection dies when the host's link goes down, or every so often."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from relay.abilities import Ability, Want
from relay.actions import StartTimer
from relay.behaviours._api import Actions, Behaviour, Conflict
from relay.behaviours._ends import end_setting, ends, wants_of_ends
from relay.events import DialSucceeded, LinkWentDown, TimerFired
from relay.settings import setting

_GOLDEN = 0.6180339887498949  # its multiples, without their whole parts, are spread evenly over 0 to 1


@dataclass(frozen=True)
class LinkDownReset(Behaviour):
    """Reset both sides when the link goes down, be it for the blink of a DHCP renewal.

    With `every_s` all connections that are open then end at the same moments of the NAT's clock, without such an event.

    Source: VMware's nat.conf, `resetConnectionOnLinkDown = 1`, the default. On Linux hosts its daemon takes every new
    address for a link event, so that a renewed lease or a container's start resets the guest's connections.
    """

    internal: str = end_setting("rst", doc="what the app gets: nothing, RST on its next segment, RST, FIN")
    external: str = end_setting("rst", doc="what the server gets")
    silence_s: float = setting(900.0, low=1, high=86_400, doc="how long a silence lasts, in s, before a reset")
    every_s: float = setting(0.0, low=0, high=31_536_000, doc="how often the same happens by itself, in s; 0: never")
    jitter_s: float = setting(
        0.0, low=0, high=86_400, doc="how late each of these moments is at most, in s; the same for all connections"
    )

    def wants(self) -> Iterable[Want]:
        ends = wants_of_ends(self.internal, self.external)
        yield from (want for want in ends if want.ability is not Ability.CLOSE)

    def conflict(self, beside: Mapping[str, Behaviour]) -> Conflict | None:
        if self.every_s or not self.jitter_s:
            return None
        return Conflict(f"jitter_s of {self.jitter_s:g} s has no effect while every_s is 0", "set every_s, too")

    def on_dial_succeeded(self, event: DialSucceeded) -> Actions:
        if self.every_s:
            yield StartTimer("every", self._next_s(event.at_s) - event.at_s)

    def on_timer_fired(self, event: TimerFired) -> Actions:
        yield from self._end()

    def on_link_went_down(self, event: LinkWentDown) -> Actions:
        yield from self._end()

    def _end(self) -> Actions:
        yield from ends(self.internal, self.external, self.silence_s)

    def _next_s(self, now_s: float) -> float:
        """The next of the moments: no chance, so that every connection has the same."""
        first = max(1, int((now_s - self.jitter_s) // self.every_s))
        numbers = range(first, int(now_s // self.every_s) + 2)
        moments = (number * self.every_s + self.jitter_s * (number * _GOLDEN % 1) for number in numbers)
        return min(moment for moment in moments if moment > now_s)
