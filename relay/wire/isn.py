"""Initial sequence numbers, as the stack's settings have them: by a clock (RFC 9293 section 3.4.1), or random."""

from __future__ import annotations

from collections.abc import Callable
from hashlib import blake2b
from typing import Final

from relay.stack import Stack
from relay.wire.sequence import MASK

_TICKS_IN_1_S: Final = 250_000
_SECRET_BITS: Final = 128


class Isn:
    """Picks them. `draw` gives so many random bits."""

    def __init__(self, stack: Stack, draw: Callable[[int], int]) -> None:
        self._clocked = stack.isn == "clock"
        self._bits = stack.isn_bits
        self._draw = draw
        self._secret = draw(_SECRET_BITS).to_bytes(_SECRET_BITS // 8) if self._clocked else b""

    def pick(self, ends: tuple[int, int, int, int], now_s: float) -> int:
        """The number for a connection between these ends: addresses and ports."""
        if not self._clocked:
            return self._draw(self._bits)
        hashed = blake2b(repr(tuple(ends)).encode(), key=self._secret, digest_size=4).digest()
        return int(now_s * _TICKS_IN_1_S) + int.from_bytes(hashed) & MASK
