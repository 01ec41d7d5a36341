"""Records in the order in which they were made, put together again: by the relay that ran, and by flow.

A file can have several runs one after the other, for the relay appends to it, and flows are numbered anew in each. A
file that was begun anew while the relay ran has no beginning.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from relay.ladder.ladder import Ladder
from relay.log import EventType, Record

_OF_ALL_FLOWS = frozenset(
    {EventType.LINK_DOWN, EventType.FROZEN, EventType.THAWED, EventType.TIME_ADVANCED, EventType.RECORDS_DROPPED}
)
"""What happens to the relay and is seen in every flow that is open then."""


@dataclass
class Run:
    """One run of a relay."""

    started_at: float = 0.0
    """What its records' times are counted from, in seconds since 1970; 0 for records that were read from a file."""
    started: Mapping[str, Any] = field(default_factory=dict)
    """The fields of `relay-started`; empty if that is not known."""
    began_s: float | None = None
    """When, in seconds since 1970; None where there are no records."""
    elsewhere: list[Record] = field(default_factory=list)
    """Records without a flow."""
    _flows: dict[int, list[Record]] = field(default_factory=dict)
    _open: set[int] = field(default_factory=set)

    @property
    def profile(self) -> str:
        """The profile's name; empty if it is not known."""
        return str(self.started.get("profile", ""))

    @property
    def ladders(self) -> list[Ladder]:
        """All flows, by number."""
        return [Ladder(number, tuple(records)) for number, records in sorted(self._flows.items())]

    def take(self, record: Record) -> Ladder | None:
        """Take in the next record; returns the flow that it ends, if it ends one."""
        if self.began_s is None:
            self.began_s = record.at(self.started_at)
        if record.event == "relay-started":
            self.started = record.fields
        if record.flow is None:
            self.elsewhere.append(record)
            if record.event in _OF_ALL_FLOWS:
                for number in self._open:
                    self._flows[number].append(record)
            return None
        if record.flow not in self._flows:
            self._flows[record.flow] = []
            self._open.add(record.flow)
        self._flows[record.flow].append(record)
        if record.event != "flow-ended":
            return None
        self._open.discard(record.flow)
        return Ladder(record.flow, tuple(self._flows[record.flow]))

    def forget(self, number: int) -> None:
        """Let go of a flow that has ended."""
        del self._flows[number]


def runs_of(records: Iterable[Record], started_at: float = 0.0) -> list[Run]:
    """The runs that these records are of; what comes before the first beginning is a run without one.

    `started_at` is that of the log that has the records, and not given for those that were read from a file.
    """
    runs: list[Run] = []
    for record in records:
        if record.event == "relay-started" or not runs:
            runs.append(Run(started_at))
        runs[-1].take(record)
    return runs
