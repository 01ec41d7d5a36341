"""The bytes that the peer has not acknowledged, sent or not, cut into payloads on demand.

Chunks are immutable, so a payload that lies within one is a view of it and stays valid for as long as a segment
holds it. A payload across chunks is a copy.
"""

from __future__ import annotations

from collections import deque
from typing import Final

_SMALL_BYTES: Final = 4096
"""Chunks are merged up to this size, lest a stream of single bytes becomes as many chunks."""


class SendQueue:
    """Bytes by position."""

    __slots__ = ("_chunks", "_skipped", "end", "start")

    def __init__(self, first: int) -> None:
        self.start = first
        """The position of the first byte kept."""
        self.end = first
        self._chunks: deque[bytes] = deque()
        self._skipped = 0  # bytes of the first chunk that are before `start`

    def __len__(self) -> int:
        return self.end - self.start

    def append(self, data: bytes | bytearray | memoryview) -> None:
        """Keep a copy of `data`."""
        chunks = self._chunks
        if chunks and len(chunks[-1]) + len(data) <= _SMALL_BYTES:
            chunks[-1] += data
        elif len(data):
            chunks.append(bytes(data))
        self.end += len(data)

    def release(self, upto: int) -> None:
        """Forget what is before the position `upto`."""
        skipped = self._skipped + upto - self.start
        self.start = upto
        chunks = self._chunks
        while chunks and skipped >= len(chunks[0]):
            skipped -= len(chunks.popleft())
        self._skipped = skipped

    def cut(self, start: int, size: int) -> bytes | memoryview:
        """The `size` bytes from the position `start` on; all of them must be there."""
        skip = self._skipped + start - self.start
        pieces: list[memoryview] = []
        for chunk in self._chunks:
            if skip >= len(chunk):
                skip -= len(chunk)
                continue
            piece = memoryview(chunk)[skip : skip + size]
            if not pieces and len(piece) == size:
                return piece
            pieces.append(piece)
            size -= len(piece)
            skip = 0
            if not size:
                break
        return b"".join(pieces)
