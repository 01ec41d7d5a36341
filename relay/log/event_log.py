"""The log that hands records of what happens to its listeners: a terminal, a file of JSON lines, a test.

A record is an event's name, when, which flow, and fields; `relay.log.vocabulary` has them all.

Listeners get records in the order in which they were made, which is that of their `at_s`. A flow's first records are
made before it is known whose process they are to name: they are held, and every later record waits in the queue behind
them, until `release` names the process. What a listener itself records comes after the record that it was given.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Any

from relay.clock import NatClock
from relay.debug import is_debugging, traceback_of
from relay.log.record import Record
from relay.log.vocabulary import FIELDS, EventType


class Hold:
    """What some records wait for: that their process is known."""

    __slots__ = ("over", "process", "then")

    def __init__(self) -> None:
        self.over = False
        self.process: tuple[int, str] | None = None
        self.then: Callable[[], None] | None = None
        """Called once they are let go."""


class EventLog:
    """Hands records to its listeners in order. A listener that raises is dropped, and the others told.

    Its methods are for one thread, except `record`.
    """

    def __init__(self, clock: NatClock | None = None) -> None:
        """With the `clock` of another log, of this process or not, the times of both can be compared."""
        self.clock = clock if clock is not None else NatClock()
        """What records are dated by; a relay goes by its log's clock."""
        self.debug = is_debugging()
        """Whether records are wanted that help to find a bug only."""
        self.wanted = False
        """Whether the log has a listener; if not, a caller need not find out what to record."""
        self._listeners: list[Callable[[Record], None]] = []
        self._queue: deque[tuple[Record, Hold | None]] = deque()
        self._handing_on = False

    @property
    def started_at(self) -> float:
        """When its clock was started, on the wall clock, in seconds since the epoch."""
        return self.clock.started_at

    def now_s(self) -> float:
        """What the `at_s` of a record that is made now would be."""
        return self.clock.read()[0]

    def subscribe(self, listener: Callable[[Record], None]) -> Callable[[], None]:
        """Have `listener` called with every record from now on; returns what ends that."""
        self._listeners.append(listener)
        self.wanted = True
        return lambda: self._unsubscribe(listener)

    def record(
        self,
        event: str,
        *,
        flow: int | None = None,
        process: tuple[int, str] | None = None,
        carried: tuple[int, int] = (0, 0),
        read: tuple[float, float] | None = None,
        **fields: Any,
    ) -> Record:
        """Make a record of now without handing it on; `read` is what the clock says, if it was read just before."""
        if unknown := fields.keys() - FIELDS[event].keys():
            raise KeyError(f"{event} has no field {', '.join(sorted(unknown))}")
        at_s, ahead_s = read or self.clock.read()
        return Record(event, at_s, flow, process, fields, ahead_s, carried)

    def emit(
        self, event: str, *, flow: int | None = None, process: tuple[int, str] | None = None, **fields: Any
    ) -> None:
        """Make a record and hand it on; the fields are those of `FIELDS`."""
        if self._listeners:
            self.hand_on(self.record(event, flow=flow, process=process, **fields))

    def hand_on(self, record: Record, hold: Hold | None = None) -> None:
        """Hand a record to every listener, after those before it; with a `hold` not before its release."""
        self._queue.append((record, hold))
        self._hand_on_queued()

    def release(self, hold: Hold, process: tuple[int, str] | None) -> None:
        """Let the records go that wait for this, with the process they are to name, or None if it is not known."""
        hold.over, hold.process = True, process
        self._hand_on_queued()
        if hold.then is not None:
            hold.then()

    def _unsubscribe(self, listener: Callable[[Record], None]) -> None:
        if listener in self._listeners:
            self._listeners.remove(listener)
            self.wanted = bool(self._listeners)

    def _hand_on_queued(self) -> None:
        if self._handing_on:
            return  # a listener has recorded something: the loop below, which called it, comes to that
        self._handing_on = True
        try:
            while self._queue:
                record, hold = self._queue[0]
                if hold is not None:
                    if not hold.over:
                        break
                    record = record.of_process(hold.process)
                self._queue.popleft()
                self._tell(record)
        finally:
            self._handing_on = False

    def _tell(self, record: Record) -> None:
        for listener in list(self._listeners):
            if listener not in self._listeners:
                continue  # another listener has ended its subscription
            try:
                listener(record)
            except Exception as fault:
                self._unsubscribe(listener)
                error = f"the event log's listener was dropped: {fault}"
                self.emit(EventType.FAULT, error=error, traceback=traceback_of(fault))
