"""Moves bytes one way, from one leg to the other, in as few steps as the kernel allows.

A pump reads into the engine's buffer and writes at once. It reads only while its sink takes everything: a sink that
does not, leaves the rest with its leg, and the source's own window then holds the sender back. So at most one buffer
waits per direction. After `BUDGET_BYTES` in one go other flows have their turn.

With a `translate` function (plain HTTP) what is read is rewritten before it is written.
"""

from __future__ import annotations

import enum
from collections.abc import Callable

from relay.net.leg import BROKEN, WOULD_BLOCK, Leg

TRANSLATED_BYTES = 64 * 1024  # h11 is twice as fast on these as on 256 KiB: its buffers stay in the cache
BUDGET_BYTES = 2 * 1024 * 1024  # some 0.4 ms of one core


class Outcome(enum.Enum):
    """Why a pump stopped."""

    WAITING = enum.auto()
    """For its source to have more, or its sink to take more."""
    SPENT = enum.auto()
    """Its budget is used up; call it again soon."""
    FINISHED = enum.auto()
    """The source has sent a FIN, and everything before it was handed on."""
    BROKEN = enum.auto()
    """The source's connection has broken, and everything before that was handed on."""
    REDIRECTED = enum.auto()
    """The source asks for another destination now (plain HTTP alone)."""


class Pump:
    """One direction of one flow."""

    __slots__ = ("_buffer", "moved_bytes", "sink", "source", "translate")

    def __init__(
        self, buffer: memoryview, source: Leg, sink: Leg | None, translate: Callable[[bytes], bytes] | None = None
    ) -> None:
        self._buffer = buffer
        self.source = source
        self.sink = sink
        """Where the bytes go; None: nowhere, they are read and dropped."""
        self.translate = translate
        self.moved_bytes = 0

    def run(self) -> Outcome:
        """Move what can be moved now."""
        source = self.source
        buffer = self._buffer if self.translate is None else self._buffer[:TRANSLATED_BYTES]
        budget = BUDGET_BYTES
        while source.readable and not source.frozen:
            sink = self.sink
            if sink is not None and (sink.unsent or not sink.writable or sink.frozen) and not sink.broken:
                return Outcome.WAITING
            count = source.receive_into(buffer)
            if count > 0:
                self.hand_on(buffer[:count])
                budget -= count
                if budget <= 0:
                    return Outcome.SPENT
            elif count == WOULD_BLOCK:
                break
            elif count == BROKEN:
                return Outcome.BROKEN
            else:
                return Outcome.FINISHED
        return Outcome.WAITING

    def run_dry(self) -> None:
        """Move everything that is there, whether the sink's kernel takes it now or not."""
        self.source.readable = True
        while (count := self.source.receive_into(self._buffer)) > 0:
            self.hand_on(self._buffer[:count])

    def hand_on(self, data: bytes | memoryview) -> None:
        """Pass on bytes as if they had just been read."""
        self.moved_bytes += len(data)
        if self.sink is None:
            return
        if self.translate is None:
            self.sink.write(data)
        elif translated := self.translate(bytes(data)):
            self.sink.write(translated)
