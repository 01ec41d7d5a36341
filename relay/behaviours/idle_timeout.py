"""A connection without traffic is forgotten; who hears of it, and when, is what NATs differ in."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from relay.abilities import Ability, Want
from relay.actions import Counts, WatchIdle
from relay.behaviours._api import Actions, Behaviour, Conflict
from relay.behaviours._ends import end_in_short, end_setting, ends, wants_of_ends
from relay.events import DialSucceeded, FinReceived, Side, WentIdle
from relay.settings import setting

_REFRESHERS = {"either": None, "internal": Side.INTERNAL, "external": Side.EXTERNAL}


@dataclass(frozen=True)
class IdleTimeout(Behaviour):
    """Forget a connection that had no traffic for a while.

    Either side may then get nothing at all, RST or FIN at once, or RST in answer to the next segment that it sends. In
    the last case a side that only waits for data hears nothing: it hangs until its own limit.

    Source: https://docs.aws.amazon.com/vpc/latest/userguide/nat-gateway-troubleshooting.html: after 350 s the instance
    that goes on sending gets RST from the gateway, never FIN; keepalive probes more often than that prevent it.
    """

    after_s: float = setting(350.0, low=0.001, high=31_536_000, doc="how long without traffic, in s")
    half_closed_s: float = setting(
        0.0, low=0, high=31_536_000, doc="the same, in s, once one side has sent its FIN; 0: the same as after_s"
    )
    late_s: float = setting(
        0.0, low=0, high=86_400, doc="how often the NAT looks, in s: it finds an idle connection up to so much later"
    )
    counts: str = setting(
        "segments",
        choices=("segments", "data"),
        doc="what is traffic: keepalive probes as well (a packet NAT), or bytes alone (a proxy)",
    )
    refreshed_by: str = setting("either", choices=tuple(_REFRESHERS), doc="whose traffic starts the time anew")
    internal: str = end_setting("rst-on-next", doc="what the app gets: nothing, RST on its next segment, RST, FIN")
    external: str = end_setting("silence", doc="what the server gets")
    silence_s: float = setting(900.0, low=1, high=86_400, doc="how long a silence lasts, in s, before a reset")

    def wants(self) -> Iterable[Want]:
        yield from super().wants()
        yield Want(Ability.IDLENESS, by=self.counts)
        yield from wants_of_ends(self.internal, self.external)

    def conflict(self, beside: Mapping[str, Behaviour]) -> Conflict | None:
        if self.half_closed_s <= self.after_s:
            return None
        return Conflict(
            f"half_closed_s of {self.half_closed_s:g} s is longer than after_s of {self.after_s:g} s: "
            "half a connection would outlive a whole one",
            "lower half_closed_s as well; 0 makes it the same as after_s",
        )

    def in_short(self) -> Mapping[str, str]:
        late = f"-{self.after_s + self.late_s:g}" if self.late_s else ""
        return {
            "idle": f"{self.after_s:g}{late} s",
            "hear": f"{end_in_short(self.internal)}/{end_in_short(self.external)}",
            "probes": "useless" if self.counts == "data" else "count",
        }

    def idle_limit_s(self) -> float:
        return max(self.after_s, self.half_closed_s) + self.late_s

    def on_dial_succeeded(self, event: DialSucceeded) -> Actions:
        yield self._watch(self.after_s)

    def on_fin_received(self, event: FinReceived) -> Actions:
        yield self._watch(self.half_closed_s or self.after_s)

    def on_went_idle(self, event: WentIdle) -> Actions:
        yield from ends(self.internal, self.external, self.silence_s)

    def _watch(self, after_s: float) -> WatchIdle:
        counts: Counts = "data" if self.counts == "data" else "segments"
        return WatchIdle("idle", after_s, counts, _REFRESHERS[self.refreshed_by], self.late_s)
