"""What flows carry: each byte follows from the seed, the flow, the direction and the place, and is checked there.

All streams are pieces of one pad, a hash's output, that goes round; a stream begins at a place in it that is another
hash's. So a byte that is lost, doubled, moved or another flow's is seen where it is, and no end need tell the other
what it sent. The pad's length is odd, so that no buffer of the relay's fits into it a whole number of times.
"""

from __future__ import annotations

import hashlib

PAD_BYTES = (1 << 20) + 7
MAX_PIECE_BYTES = 1 << 16


class WrongByte(Exception):
    """Something arrived that was not sent there."""


class Pad:
    """The bytes of all streams of one run."""

    def __init__(self, seed: int) -> None:
        self._seed = seed
        once = hashlib.shake_128(str(seed).encode()).digest(PAD_BYTES)
        self._bytes = once + once[:MAX_PIECE_BYTES]

    def stream(self, flow: int, sender: str, size_bytes: int) -> Stream:
        """What one side of a flow sends."""
        place = hashlib.blake2b(f"{self._seed}/{flow}/{sender}".encode(), digest_size=8).digest()
        return Stream(self._bytes, int.from_bytes(place) % PAD_BYTES, size_bytes)


class Stream:
    """One direction of one flow."""

    def __init__(self, pad: bytes, start: int, size_bytes: int) -> None:
        self._pad = pad
        self._start = start
        self.size_bytes = size_bytes

    def piece(self, offset: int, count: int) -> bytes:
        """So many bytes from `offset` on, or what there is up to `MAX_PIECE_BYTES` or the end."""
        count = max(0, min(count, MAX_PIECE_BYTES, self.size_bytes - offset))
        at = (self._start + offset) % PAD_BYTES
        return self._pad[at : at + count]

    def check(self, offset: int, data: bytes | bytearray) -> None:
        """Insist that `data` is what belongs at `offset`.

        Raises:
            WrongByte: it is not; the message says where it first differs.
        """
        for begin in range(0, len(data), MAX_PIECE_BYTES):
            got = data[begin : begin + MAX_PIECE_BYTES]
            wanted = self.piece(offset + begin, len(got))
            if got != wanted:
                at = next((i for i, (a, b) in enumerate(zip(got, wanted, strict=False)) if a != b), len(wanted))
                place = offset + begin + at
                raise WrongByte(f"byte {place} of {self.size_bytes} is not what was sent there")
