"""A quirk of one's own, in a package of its own: a line that loses some of its connections.

    pip install ./third_party_behaviour
    relay explain transparent --set flaky-line.share=0.5
    relay serve --profile transparent --set flaky-line.share=0.5 --seed 7

The entry point in `pyproject.toml` is all that the relay has to know of it. Chance is drawn from the relay's generator:
every draw is in the event log, and `--seed` repeats them.
"""

from __future__ import annotations

from dataclasses import dataclass

from relay.actions import SendRst, StartTimer
from relay.behaviours import Actions, Behaviour, setting
from relay.events import DialSucceeded, Side, TimerFired


@dataclass
class FlakyLine(Behaviour):
    """Reset some flows a while after they were connected; chance says which, and when."""

    draws = True

    share: float = setting(0.3, low=0, high=1, doc="how many flows are reset, as a share of all")
    within_s: float = setting(
        10.0, low=0, doc="how long after it was connected a flow is reset at the latest, in seconds"
    )

    def on_dial_succeeded(self, event: DialSucceeded) -> Actions:
        if self.chance() < self.share:
            yield StartTimer("reset", self.chance() * self.within_s)

    def on_timer_fired(self, event: TimerFired) -> Actions:
        yield SendRst(Side.INTERNAL)
        yield SendRst(Side.EXTERNAL)
