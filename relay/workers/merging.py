"""Several workers' records in one log, in the order of their times.

Each worker sends its records in order, but they arrive after others that are later. So the parent holds every record,
its own as well, for `WINDOW_S` of real time, however fast the NAT's clock runs. One that arrives after a later one was
written is late: the order is then that of each worker alone.
"""

from __future__ import annotations

import heapq
import itertools
from typing import Any

import anyio

from relay.clock import NatClock, real_s
from relay.log import EventLog, Record

WINDOW_S = 0.1
_PAUSE_S = 0.01  # at least, between two looks at what is old enough


class MergedLog:
    """What the parent writes to its event log."""

    def __init__(self, log: EventLog) -> None:
        self._log = log
        self._held: list[tuple[float, int, Record, float]] = []  # with when it came, in real seconds
        self._numbers = itertools.count()
        self._filled = anyio.Event()
        self._over = False

    @property
    def clock(self) -> NatClock:
        """What records are dated by."""
        return self._log.clock

    def put(self, record: Record) -> None:
        """Hand this record on in its turn."""
        if self._over:
            self._log.hand_on(record)
            return
        heapq.heappush(self._held, (record.at_s, next(self._numbers), record, real_s()))
        self._filled.set()

    def emit(self, event: str, **fields: Any) -> Record:
        """Make a record of the parent's own; gives it back."""
        record = self._log.record(event, **fields)
        self.put(record)
        return record

    async def run(self) -> None:
        """Hand records on when they are old enough, until cancelled."""
        while True:
            await self._filled.wait()
            self._filled = anyio.Event()
            while self._held:
                await anyio.sleep(max(_PAUSE_S, self._held[0][3] + WINDOW_S - real_s()))
                self._hand_on(real_s() - WINDOW_S)

    def finish(self) -> None:
        """Hand on all that are left, and from now on each at once: no worker will send another."""
        self._over = True
        self._hand_on(float("inf"))

    def _hand_on(self, came_until_s: float) -> None:
        while self._held and self._held[0][3] <= came_until_s:
            self._log.hand_on(heapq.heappop(self._held)[2])
