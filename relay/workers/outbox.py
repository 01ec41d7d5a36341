"""What a worker sends its parent, without waiting for it.

The socket takes what it can; a task sends the rest when the socket has room again. So a parent that is stopped, or
slow, holds up no flow. At most `QUEUE_BYTES` wait, for they are the worker's memory. Records of the event log that do
not fit are counted; once half of the queue is free, the record `records-dropped` stands in their place.

After the parent is gone the outbox drops everything, and that is no error: the worker ends for another reason then.
"""

from __future__ import annotations

import select
import socket

import anyio

from relay.clock import real_s
from relay.log import EventLog, EventType, Record
from relay.workers.channel import frame

QUEUE_BYTES = 1 << 20  # 5,000 records
_CHUNK_BYTES = 1 << 18


class Outbox:
    """The worker's half of the channel; for the thread of its event loop."""

    def __init__(self, sock: socket.socket, log: EventLog) -> None:
        self._sock = sock
        self._log = log
        self._queue = bytearray()
        self._dropped = 0
        self._filled = anyio.Event()

    @property
    def is_behind(self) -> bool:
        """Whether something waits."""
        return bool(self._queue)

    def put(self, message: object) -> None:
        """Send something that the parent must get."""
        self._send(frame(message))

    def record(self, record: Record) -> None:
        """Hand on a record of the event log, or count it if there is no room for it."""
        if self._dropped or len(self._queue) > QUEUE_BYTES:
            self._dropped += 1
        else:
            self._send(frame(record))

    async def run(self) -> None:
        """Send what waits, as the socket takes it, until cancelled."""
        while True:
            await self._filled.wait()
            self._filled = anyio.Event()
            while self._queue:
                await anyio.wait_writable(self._sock)
                self._flush()

    def finish(self, at_most_s: float) -> None:
        """Send all that waits, for a bounded time; blocks."""
        deadline_s = real_s() + at_most_s
        writable = select.poll()
        writable.register(self._sock, select.POLLOUT)
        while self._queue and (left_s := deadline_s - real_s()) > 0:
            writable.poll(left_s * 1000)
            self._flush()

    def _send(self, data: bytes) -> None:
        if self._queue:
            self._queue += data
            return
        sent = self._take(data)
        if sent < len(data):
            self._queue += data[sent:]
            self._filled.set()

    def _flush(self) -> None:
        with memoryview(self._queue) as view:
            sent = self._take(view[:_CHUNK_BYTES])
        del self._queue[:sent]
        if self._dropped and len(self._queue) <= QUEUE_BYTES // 2:
            dropped, self._dropped = self._dropped, 0
            self.put(self._log.record(EventType.RECORDS_DROPPED, records=dropped))

    def _take(self, data: bytes | memoryview) -> int:
        """Have the socket take what it can; returns how many bytes that was."""
        try:
            return self._sock.send(data, socket.MSG_DONTWAIT)
        except BlockingIOError:
            return 0
        except OSError:
            return len(data)
