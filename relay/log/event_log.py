"""Records of what happens, and the log that hands them to its listeners: a terminal, a file of JSON lines, a test.

A record is an event's name, when, which flow, and fields; `relay.log.vocabulary` has them all.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from relay.log.json_lines import json_line
from relay.log.vocabulary import FIELDS


@dataclass(frozen=True, slots=True)
class Record:
    """One thing that happened."""

    event: str
    at_s: float
    flow: int | None
    process: tuple[int, str] | None
    fields: Mapping[str, Any]

    def of_process(self, process: tuple[int, str] | None) -> Record:
        """The same record, naming the process."""
        return replace(self, process=process)

    def as_json(self, started_at: float) -> str:
        """The record as one JSON object; `started_at` is the log's, on the wall clock."""
        return json_line(self, started_at)


class EventLog:
    """Hands records to its listeners as they come. A listener that raises is dropped, and the others told."""

    def __init__(self, clock: tuple[float, float] | None = None) -> None:
        """With the `clock` of another log, of this process or not, the times of both can be compared."""
        self.started_at, self._started_s = clock or (time.time(), time.monotonic())
        self._listeners: list[Callable[[Record], None]] = []

    @property
    def clock(self) -> tuple[float, float]:
        """When it was started, on the wall clock and on the host's monotonic one."""
        return self.started_at, self._started_s

    @property
    def wanted(self) -> bool:
        """Whether anybody listens; if not, there is no need to find out what to say."""
        return bool(self._listeners)

    def subscribe(self, listener: Callable[[Record], None]) -> Callable[[], None]:
        """Have `listener` called with every record from now on; returns what ends that."""
        self._listeners.append(listener)
        return lambda: self._listeners.remove(listener) if listener in self._listeners else None

    def record(
        self, event: str, *, flow: int | None = None, process: tuple[int, str] | None = None, **fields: Any
    ) -> Record:
        """Make a record of now without handing it on."""
        if unknown := fields.keys() - FIELDS[event].keys():
            raise KeyError(f"{event} has no field {', '.join(sorted(unknown))}")
        return Record(event, time.monotonic() - self._started_s, flow, process, fields)

    def emit(
        self, event: str, *, flow: int | None = None, process: tuple[int, str] | None = None, **fields: Any
    ) -> None:
        """Make a record and hand it on; the fields are those of `FIELDS`."""
        if self._listeners:
            self.hand_on(self.record(event, flow=flow, process=process, **fields))

    def hand_on(self, record: Record) -> None:
        """Tell every listener of a record."""
        for listener in list(self._listeners):
            if listener not in self._listeners:
                continue  # dropped meanwhile: it failed at the word that another had been
            try:
                listener(record)
            except Exception as fault:
                self._listeners.remove(listener)
                self.emit("fault", error=f"the event log's listener was dropped: {fault}")
