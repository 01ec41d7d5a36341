"""A behaviour whose timers tests move the NAT's clock over."""

from __future__ import annotations

from dataclasses import dataclass, replace

from relay.actions import Note, StartTimer
from relay.behaviours import Actions, Behaviour
from relay.events import DialSucceeded, TimerFired
from relay.profiles import Profile, Quirk, load_profile


@dataclass
class Alarms(Behaviour):
    """Notes when its timers fire, at 200 and 300 s; the first of them starts another, of 50 s."""

    def on_dial_succeeded(self, event: DialSucceeded) -> Actions:
        yield StartTimer("last", 300)
        yield StartTimer("first", 200)

    def on_timer_fired(self, event: TimerFired) -> Actions:
        yield Note(event.key)
        if event.key == "first":
            yield StartTimer("second", 50)


def with_alarms() -> Profile:
    transparent = load_profile("transparent")
    return replace(transparent, quirks=(*transparent.quirks, Quirk(Alarms, {}, "assumed", ())))
