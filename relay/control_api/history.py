"""What has happened, for those who follow it and those who come later: a listener of the event log.

The last `KEPT` records are kept. A follower gets every record from where it begins, in batches; one that is
`BEHIND` records behind is dropped, and the relay does not wait for it.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable, Iterable
from itertools import islice

import anyio

from relay.log import EventLog, EventType, Record
from relay.server.started import Limited

KEPT = 50_000
BEHIND = 10_000
QUIET_S = 15.0
"""After this long without a record a follower is sent a comment: if its connection is gone, that shows."""
_BATCH = 500  # between two turns of the host's loop


class History:
    """The records of an event log."""

    def __init__(self, log: EventLog, earlier: Iterable[Record] = ()) -> None:
        """Follow a log from now on; `earlier` are its records so far, as far as they were kept elsewhere."""
        self.log = log
        self.resets: Counter[str] = Counter()
        """How many RSTs were sent, by what had them sent: a cause or a behaviour."""
        self._records: deque[Record] = deque(maxlen=KEPT)
        self._followers: set[Follower] = set()
        for record in earlier:
            self._keep(record)
        self._unsubscribe = log.subscribe(self._take)

    def close(self) -> None:
        """Take in nothing more."""
        self._unsubscribe()

    def records_of(self, number: int) -> list[Record]:
        """What is kept of one flow, and of what concerns all."""
        return [record for record in self._records if record.flow in {number, None}]

    def follow(self, earlier: int = 0) -> Follower:
        """Get what happens from now on, and up to so many records of what has."""
        kept = len(self._records)
        follower = Follower(self, islice(self._records, max(0, kept - min(earlier, BEHIND - 1)), None))
        self._followers.add(follower)
        return follower

    def leave(self, follower: Follower) -> None:
        """Let go of a follower."""
        self._followers.discard(follower)

    def _keep(self, record: Record) -> None:
        self._records.append(record)
        if record.event == EventType.RST_SENT:
            self.resets[str(record.fields["because"])] += 1

    def _take(self, record: Record) -> None:
        self._keep(record)
        for follower in list(self._followers):
            follower.put(record)


class Follower:
    """One that follows what happens."""

    def __init__(self, history: History, earlier: Iterable[Record]) -> None:
        self._history = history
        self._waiting: deque[Record] = deque(earlier)
        self._changed = anyio.Event()
        self.drop: Callable[[], None] = _nothing
        """Called once it is too far behind; then nothing more comes."""

    def put(self, record: Record) -> None:
        """Take in one record."""
        if len(self._waiting) < BEHIND:
            self._waiting.append(record)
            self._changed.set()
        else:
            self.leave()
            self.drop()

    async def next_batch(self, limited: Limited) -> list[Record]:
        """The next records, as many at once as there are; none after a while without any."""
        if not self._waiting:
            self._changed = anyio.Event()
            with limited(QUIET_S):
                await self._changed.wait()
        return [self._waiting.popleft() for _ in range(min(_BATCH, len(self._waiting)))]

    def leave(self) -> None:
        """Follow no more."""
        self._history.leave(self)


def _nothing() -> None:
    pass
