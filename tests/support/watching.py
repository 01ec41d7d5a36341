"""A behaviour that watches a flow's idle time, and notes what it finds."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from relay.abilities import Ability, Want
from relay.actions import Note, WatchIdle
from relay.behaviours import Actions, Behaviour
from relay.events import DialSucceeded, WentIdle
from support.memory_driver import MemoryDriver

WATCH = WatchIdle("quiet", 10.0)


@dataclass(frozen=True)
class Watching(Behaviour):
    """Notes when a flow has been idle."""

    watch: WatchIdle = WATCH

    def wants(self) -> Iterable[Want]:
        yield Want(Ability.IDLENESS, by=self.watch.counts)

    def on_dial_succeeded(self, event: DialSucceeded) -> Actions:
        yield self.watch

    def on_went_idle(self, event: WentIdle) -> Actions:
        yield Note(f"{event.key} since {event.since_s:g}, at {event.at_s:g}")


def notes(nat: MemoryDriver) -> list[str]:
    """What was noted so far."""
    return [record.fields["text"] for record in nat.records if record.fields.get("because") == "watching"]
