"""What goes to a terminal, a pipe or a file, written by a thread beside the event loop.

    event loop --write--> queue of bounded size --thread--> descriptor

A descriptor can block for any time: a pipe that is not read, a terminal that was stopped with Ctrl-S, a slow disk. Then
only the thread waits, and what does not fit into the queue is dropped. Lines that are dropped are counted; once half of
the queue is free, a line in their place says how many they were.

The thread writes to the descriptor, not to a Python stream: the interpreter takes a stream's lock at its exit, and
would wait there for a write that does not end.
"""

from __future__ import annotations

import os
import select
import threading
from collections import deque
from collections.abc import Callable

from relay.clock import real_s

LIMIT_BYTES = 4 << 20  # some 15,000 records: more than a relay makes while a disk stands still for a second
_GATHER_S = 0.005  # to wake the thread costs 10 us of CPU time: in a flood of records once for many
_CHUNK_BYTES = 1 << 16  # what a pipe of Linux holds


class ByteSink:
    """Writes to a descriptor what it is given, in order.

    Its methods may be called from any thread, and none of them blocks.

    `failed` is called once, in the sink's thread, when the descriptor takes nothing any more. With `owned` the thread
    closes the descriptor in the end. With `held` nothing is written before `release`.
    """

    def __init__(
        self,
        descriptor: int,
        failed: Callable[[OSError], None] = lambda failure: None,
        *,
        owned: bool = False,
        held: bool = False,
        limit_bytes: int = LIMIT_BYTES,
    ) -> None:
        self._descriptor = descriptor
        self._held = held
        self._failed = failed
        self._owned = owned
        self._limit_bytes = limit_bytes
        self._changed = threading.Condition(threading.Lock())
        self._queue: deque[bytes | Callable[[], int]] = deque()
        self._queued_bytes = 0
        self._in_hand = 0  # pieces that the thread has taken and not written
        self._dropped = 0  # pieces that are owed a notice
        self._waits = False  # the thread, for a piece or for the end
        self._closed = False
        self._failure: OSError | None = None
        self._thread = threading.Thread(target=self._run, name="relay sink", daemon=True)
        self._thread.start()

    def offer(self, data: bytes) -> bool:
        """Have this written; returns False if there is no room for it, and drops it then.

        Raises:
            OSError: an earlier piece could not be written.
        """
        with self._changed:
            return self._take(data)

    def release(self) -> None:
        """Write what was offered while the sink was held, and what is offered from now on."""
        with self._changed:
            self._held = False
            self._changed.notify()

    def reopen(self, open_file: Callable[[], int], first: bytes = b"") -> None:
        """Write what is offered from now on to the descriptor that `open_file` returns, all earlier pieces to the old.

        It is called in the sink's thread. If it raises OSError, which it must have reported, the old one stays. `first`
        comes before everything else, be there room for it or not.
        """
        with self._changed:
            self._queue.append(open_file)
            if first:
                self._add(first)
            self._changed.notify()

    def close(self, deadline_s: float) -> int:
        """Wait until everything is written, at the longest until `deadline_s` on the monotonic clock.

        Returns how many pieces were not written by then. The thread that still tries is left behind: it does not keep
        the process from its exit. A sink that is still held writes nothing, and has nothing left.
        """
        with self._changed:
            self._closed = True
            self._changed.notify()
        self._thread.join(max(0.0, deadline_s - real_s()))
        with self._changed:
            return sum(isinstance(each, bytes) for each in self._queue) + self._in_hand + self._dropped

    def _take(self, data: bytes) -> bool:
        if self._failure is not None:
            raise self._failure
        taken = not self._dropped and self._queued_bytes + len(data) <= self._limit_bytes
        if taken:
            self._add(data)
        if self._waits:
            self._waits = False
            self._changed.notify()
        return taken

    def _add(self, data: bytes) -> None:
        self._queue.append(data)
        self._queued_bytes += len(data)

    def _notice(self) -> bytes:
        """What stands in the place of those that are owed one."""
        return b""

    def _run(self) -> None:
        try:
            while chunk := self._next_chunk():
                if isinstance(chunk, bytes):
                    self._write_all(chunk)
                else:
                    self._switch_to(chunk)
        except OSError as failure:
            with self._changed:
                self._failure = failure
                self._queue.clear()
                self._in_hand = self._dropped = 0  # `failed` reports those
            self._failed(failure)
        if self._owned:
            os.close(self._descriptor)

    def _switch_to(self, open_file: Callable[[], int]) -> None:
        try:
            descriptor = open_file()
        except OSError:
            return
        if self._owned:
            os.close(self._descriptor)
        self._descriptor, self._owned = descriptor, True

    def _next_chunk(self) -> bytes | Callable[[], int]:
        """The next pieces, once there are any, or what opens another file; empty at the end."""
        with self._changed:
            self._in_hand = 0
            self._changed.wait_for(lambda: self._closed or not self._held)
            if self._held:
                self._queue.clear()
                self._dropped = 0
                return b""
            while not (self._queue or self._dropped or self._closed):
                self._waits = True
                self._changed.wait()
                self._changed.wait_for(lambda: self._closed, _GATHER_S)
            if self._dropped and self._queued_bytes <= self._limit_bytes // 2:
                self._add(self._notice())
                self._dropped = 0
            pieces: list[bytes] = []
            size_bytes = 0
            while self._queue and size_bytes < _CHUNK_BYTES:
                piece = self._queue[0]
                if not isinstance(piece, bytes):
                    if pieces:
                        break
                    self._queue.popleft()
                    return piece
                self._queue.popleft()
                pieces.append(piece)
                size_bytes += len(piece)
            self._queued_bytes -= size_bytes
            self._in_hand = len(pieces)
            return b"".join(pieces)

    def _write_all(self, chunk: bytes) -> None:
        rest = memoryview(chunk)
        while rest:
            try:
                rest = rest[os.write(self._descriptor, rest) :]
            except BlockingIOError:  # another process has made the shared description non-blocking
                select.select((), (self._descriptor,), ())


class Sink(ByteSink):
    """Writes lines, and says in their place how many were dropped: `describe_drop` words that line."""

    def __init__(
        self,
        descriptor: int,
        describe_drop: Callable[[int], str],
        failed: Callable[[OSError], None] = lambda failure: None,
        *,
        owned: bool = False,
        encoding: str = "utf-8",
        limit_bytes: int = LIMIT_BYTES,
    ) -> None:
        self._describe_drop = describe_drop
        self._encoding = encoding
        super().__init__(descriptor, failed, owned=owned, limit_bytes=limit_bytes)

    def write(self, text: str) -> None:
        """Have a line written, given without its end.

        Raises:
            OSError: an earlier one could not be written.
        """
        line = self._encoded(text)
        with self._changed:
            if not self._take(line):
                self._dropped += 1

    def _notice(self) -> bytes:
        return self._encoded(self._describe_drop(self._dropped))

    def _encoded(self, text: str) -> bytes:
        return f"{text}\n".encode(self._encoding, "backslashreplace")
