"""A NAT that ends every flow when it has lasted too long for its taste."""

from __future__ import annotations

from dataclasses import dataclass

from relay.actions import SendFin, SendRst, StartTimer
from relay.behaviours import Actions, Behaviour, setting
from relay.events import DialSucceeded, Side, TimerFired


@dataclass
class LosePatience(Behaviour):
    """End the flow toward the app a while after it was connected."""

    after_s: float = setting(30.0, low=0, doc="how long a flow may last, in seconds")
    goodbye: str = setting("fin", choices=("fin", "rst"), doc="what the app gets")

    def on_dial_succeeded(self, event: DialSucceeded) -> Actions:
        yield StartTimer("patience", self.after_s)

    def on_timer_fired(self, event: TimerFired) -> Actions:
        yield SendFin(Side.INTERNAL) if self.goodbye == "fin" else SendRst(Side.INTERNAL)
