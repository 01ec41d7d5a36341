"""A connection may be only so old, busy or not."""

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
class LifetimeLimit(Behaviour):
    """End a connection at a certain age, whatever it carries.

    Source: Envoy's `max_downstream_connection_duration` of its TCP proxy, and the jitter that it adds:
    https://www.envoyproxy.io/docs/envoy/latest/api-v3/extensions/filters/network/tcp_proxy/v3/tcp_proxy.proto
    """

    aliases = ("limit-time",)
    draws = True

    after_s: float = setting(3600.0, low=0.001, high=31_536_000, doc="how old a connection gets, in s")
    jitter_s: float = setting(0.0, low=0, high=86_400, doc="up to so much older, in s, by chance")
    internal: str = end_setting("fin", doc="what the app gets: nothing, RST on its next segment, RST, FIN")
    external: str = end_setting("fin", doc="what the server gets")
    silence_s: float = setting(900.0, low=1, high=86_400, doc="how long a silence lasts, in s, before a reset")

    def wants(self) -> Iterable[Want]:
        yield from wants_of_ends(self.internal, self.external)

    def on_dial_succeeded(self, event: DialSucceeded) -> Actions:
        yield StartTimer("old", self.after_s + (self.jitter_s * self.chance() if self.jitter_s else 0.0))

    def on_timer_fired(self, event: TimerFired) -> Actions:
        yield from ends(self.internal, self.external, self.silence_s)
