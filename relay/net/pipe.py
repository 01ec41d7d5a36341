"""Pipes that move bytes from one socket to another without copying them into this process's memory (splice(2)).

A pump borrows a pipe from the pool, fills it from one socket and empties it into another. What the second socket does
not take stays in the pipe, with its leg.

Only Linux has splice. An unprivileged user's pipes shrink to 8 KiB once they have 64 MiB of them (pipe(7),
pipe-user-pages-soft). So the pool keeps few, and lends none where they come out too small; the borrower then copies.
"""

from __future__ import annotations

import os
import socket
import sys

PIPE_BYTES = 1 << 20  # measured on loopback: 256 KiB moves a tenth less; a larger pipe gains nothing
_ENOUGH_BYTES = 256 * 1024  # below that, copying through a buffer is equally fast
_MAX_PIPES = 32  # at once, 32 MiB at the most: half of what an unprivileged user may have
_MAX_IDLE = 8  # two descriptors each; more are open only where more flows wait for their sinks at once


class Pipe:
    """Holds bytes on their way. Its length is how many."""

    __slots__ = ("_level_bytes", "_pool", "_read_end", "_write_end", "size_bytes")

    def __init__(self, pool: PipePool) -> None:
        self._pool = pool
        self._read_end, self._write_end = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        self._level_bytes = 0
        self.size_bytes = _enlarge(self._write_end)

    def __len__(self) -> int:
        return self._level_bytes

    def fill(self, source: socket.socket) -> int:
        """Take in what the socket has, as much as fits; returns how many bytes, 0 for its FIN.

        Raises:
            BlockingIOError: there is nothing, or no room.
            OSError: the socket's connection has broken.
        """
        count = os.splice(source.fileno(), self._write_end, self.size_bytes, flags=os.SPLICE_F_NONBLOCK)
        self._level_bytes += count
        return count

    def empty_into(self, sink: socket.socket) -> int:
        """Give the socket what it takes; returns how many bytes that were.

        Raises:
            BlockingIOError: it takes nothing now.
            OSError: the socket's connection has broken.
        """
        count = os.splice(self._read_end, sink.fileno(), self._level_bytes, flags=os.SPLICE_F_NONBLOCK)
        self._level_bytes -= count
        return count

    def read(self) -> bytearray:
        """Take out everything."""
        data = bytearray()
        while len(data) < self._level_bytes:
            data += os.read(self._read_end, self._level_bytes)
        self._level_bytes = 0
        return data

    def give_back(self) -> None:
        """Return it to the pool, whatever it still holds."""
        self._pool.take_back(self)

    def close(self) -> None:
        os.close(self._read_end)
        os.close(self._write_end)


class PipePool:
    """The pipes of one engine."""

    def __init__(self) -> None:
        self._idle: list[Pipe] = []
        self._lent: set[Pipe] = set()
        self._lendable = _MAX_PIPES if sys.platform == "linux" else 0

    def borrow(self) -> Pipe | None:
        """Lend an empty pipe; None means that the caller has to copy."""
        pipe = self._idle.pop() if self._idle else self._open()
        if pipe is not None:
            self._lent.add(pipe)
        return pipe

    def take_back(self, pipe: Pipe) -> None:
        if pipe not in self._lent:
            return  # the pool was closed meanwhile
        self._lent.remove(pipe)
        if pipe or len(self._idle) == _MAX_IDLE:
            pipe.close()  # emptying a pipe that holds bytes costs more than a new one
            self._lendable += 1
        else:
            self._idle.append(pipe)

    def close_idle(self) -> None:
        """Close those that are not lent; others may be borrowed again."""
        while self._idle:
            self._idle.pop().close()
            self._lendable += 1

    def close(self) -> None:
        """Close them all, and lend no more."""
        self._lendable = 0
        for pipe in (*self._idle, *self._lent):
            pipe.close()
        self._idle.clear()
        self._lent.clear()

    def _open(self) -> Pipe | None:
        if not self._lendable:
            return None
        try:
            pipe = Pipe(self)
        except OSError:  # no descriptors left
            return None
        if pipe.size_bytes < _ENOUGH_BYTES:
            pipe.close()
            self._lendable = 0  # the user's share is used up: trying again each time costs more than splicing saves
            return None
        self._lendable -= 1
        return pipe


def _enlarge(descriptor: int) -> int:
    """Make a pipe as large as asked, or as large as it may be; returns its size."""
    import fcntl  # noqa: PLC0415 - not on Windows

    try:
        return fcntl.fcntl(descriptor, fcntl.F_SETPIPE_SZ, PIPE_BYTES)
    except OSError:
        return fcntl.fcntl(descriptor, fcntl.F_GETPIPE_SZ)
