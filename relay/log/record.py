"""One record of the event log, and how programs read it: one JSON object a line.

{"at": "2026-01-31T12:00:00.123+00:00", "at_s": 1.234567, "event": "tos-changed", "flow": 7, "new": 72, ...}
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any


@dataclass(frozen=True, slots=True)
class Record:
    """One thing that happened."""

    event: str
    at_s: float
    flow: int | None
    process: tuple[int, str] | None
    fields: Mapping[str, Any]
    ahead_s: float = 0.0
    """By how much `at_s` is ahead of the real seconds since the relay started."""
    carried: tuple[int, int] = (0, 0)
    """How many bytes the flow had carried by then, out and in."""

    def at(self, started_at: float) -> float:
        """When it was on the wall clock, in seconds since the epoch; `started_at` is the log's."""
        return started_at + self.at_s - self.ahead_s

    def of_process(self, process: tuple[int, str] | None) -> Record:
        """The same record, naming the process."""
        return replace(self, process=process)

    def as_json(self, started_at: float) -> str:
        """The record as one JSON object, without the line's end; `started_at` is the log's, on the wall clock."""
        at = datetime.fromtimestamp(self.at(started_at), UTC).isoformat(timespec="milliseconds")
        process = {"pid": self.process[0], "name": self.process[1]} if self.process else None
        head = {"at": at, "at_s": round(self.at_s, 6), "event": self.event, "flow": self.flow, "process": process}
        carried = {"carried": self.carried if self.flow is not None else None}
        return json.dumps(head | carried | dict(self.fields))
