"""A ring: what BPF programs tell this process, in order (Linux 5.8, Documentation/bpf/ringbuf.rst).

The kernel writes behind `produced`, we read up to there and say how far in `consumed`; both are counts of bytes that
only grow, each on a page of its own. A record is eight bytes of header, the first four of them its length and two bits,
then what the program gave, rounded up to eight. All of it is shared memory: reading takes no system call. The ring's
descriptor is readable when something was written, if the program asks for that (RING_FORCE_WAKEUP).

What does not fit is lost.
"""

from __future__ import annotations

import contextlib
import mmap
import os
import struct
from collections.abc import Iterator

from relay.observe.kernel.ebpf import RINGBUF, create_map

RING_BYTES = 1 << 16  # a power of two, and of whole pages
_BUSY = 1 << 31  # being written still
_DISCARDED = 1 << 30
_LENGTH = 0x3FFFFFFF
_COUNT = struct.Struct("=Q")
_HEADER = struct.Struct("=I4x")


class Ring:
    """Made before the programs that write into it; they are given its descriptor.

    Raises:
        OSError: the kernel refused.
    """

    def __init__(self) -> None:
        page = mmap.PAGESIZE
        with contextlib.ExitStack() as undo:
            self._descriptor = create_map(RINGBUF, 0, 0, RING_BYTES)
            undo.callback(os.close, self._descriptor)
            ours = mmap.mmap(self._descriptor, page, mmap.MAP_SHARED, mmap.PROT_READ | mmap.PROT_WRITE)
            undo.callback(ours.close)
            # The data are mapped twice in a row, so that no record is ever in two pieces.
            length = page + 2 * RING_BYTES
            self._theirs = mmap.mmap(self._descriptor, length, mmap.MAP_SHARED, mmap.PROT_READ, offset=page)
            undo.callback(self._theirs.close)
            # Written in one go: struct.pack_into clears what it writes to first, and a ring that seems to be full for
            # that moment loses what comes in it.
            self._told = memoryview(ours).cast("Q")
            undo.callback(self._told.release)
            self._undo = undo.pop_all()
        self._consumed = 0
        self._closed = False

    def fileno(self) -> int:
        return -1 if self._closed else self._descriptor

    def take(self) -> Iterator[bytes]:
        """The records that have come, each once. One that is still being written has a wake-up of its own to come."""
        while not self._closed and self._consumed < _COUNT.unpack_from(self._theirs)[0]:
            at = mmap.PAGESIZE + self._consumed % RING_BYTES
            header: int = _HEADER.unpack_from(self._theirs, at)[0]
            if header & _BUSY:
                return
            begin, length = at + _HEADER.size, header & _LENGTH
            record = self._theirs[begin : begin + length]
            self._consumed += _HEADER.size + (length + 7 & ~7)
            self._told[0] = self._consumed
            if not header & _DISCARDED:
                yield record

    def close(self) -> None:
        """Harmless when repeated."""
        if not self._closed:
            self._closed = True
            self._undo.close()
