"""What an advance of the NAT's clock leaves no time for: keepalive probes, whose timers are the kernels'.

Where the kernel of this host has a peer's socket, it is known when that would send its next probe. A flow whose idle
time such probes interrupt is presumed to get them at their moments. Linux probes again as often as the socket's idle
time, as long as each probe is answered; where only the timer is known, that time is taken to be as long as the timer
still has and the flow already lasts, in whole seconds: true for a socket that was given keepalive as it connected.

A kernel's timer does not age in an advance. So the next advance goes on from the last probe that was presumed, unless
the flow has carried something meanwhile.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple

from relay.events import Side

if TYPE_CHECKING:
    from relay.driver.flow import Flow

_WHO = {Side.INTERNAL: "the app", Side.EXTERNAL: "the server"}
_BY_OPTIONS, _BY_TIMER = "the socket's options", "its kernel's timer, approximate"
_UNSEEN = "probes that the app's socket may send; this host cannot look at it"


class Probes(NamedTuple):
    """Probes that a peer would send; times are seconds of the NAT's clock."""

    first_s: float
    every_s: float

    def until(self, now_s: float) -> int:
        """How many have been sent by then."""
        return max(0, math.floor((now_s - self.first_s) / self.every_s) + 1)

    def last_s(self, now_s: float) -> float:
        """When the last one was sent before then; minus infinity if none was."""
        count = self.until(now_s)
        return min(now_s, self.first_s + (count - 1) * self.every_s) if count else -math.inf

    def after(self, now_s: float) -> Probes:
        """Those that are left then."""
        return self._replace(first_s=self.first_s + self.until(now_s) * self.every_s)


def presume_probes(flow: Flow, seconds: float) -> None:
    """Have a flow's idle time go by the probes that its peers would send in the next `seconds`."""
    idleness = flow.idleness
    if idleness is None or not idleness.listens:
        return
    now_s, scale = flow.now_s(), flow.driver.engine.nat.scale
    for leg in flow.legs:
        if leg.closed or flow.machine.is_over(leg.side):
            continue
        peer = leg.look_at_peer()
        if peer is None:
            idleness.unseen |= leg.side is Side.INTERNAL
        elif peer.probe_in_s is not None:
            every_s = peer.probes_every_s or max(1, round(peer.probe_in_s + idleness.lasts_s))
            probes = Probes(now_s + peer.probe_in_s * scale, every_s * scale)
            probes = idleness.presume(leg.side, probes)
            if count := probes.until(now_s + seconds):
                known_by = _BY_OPTIONS if peer.probes_every_s is not None else _BY_TIMER
                told = {"side": leg.side.value, "probes": count, "every_s": probes.every_s, "known_by": known_by}
                flow.log.write("keepalive-presumed", **told)


def presume_no_more(flow: Flow) -> None:
    """The advance is over."""
    if flow.idleness is not None:
        flow.idleness.presume_no_more()


def tell_what_stays(flow: Flow, seconds: float) -> None:
    """Say in the log if probes of ours would be due in the next `seconds`: they come by the kernel's clock."""
    for keepalive in flow.legs.keepalives:
        if keepalive.idle_s <= seconds and not flow.machine.is_over(keepalive.side):
            what = f"the NAT's keepalive probes to {_WHO[keepalive.side]}, due after {keepalive.idle_s} s of silence"
            flow.log.write("not-advanced", what=what)


def tell_unseen(flow: Flow) -> None:
    """Say in the log that the flow counts as idle though its app may have sent probes."""
    flow.log.write("not-advanced", what=_UNSEEN)
