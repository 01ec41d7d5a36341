"""The clocks of a probe: the NAT's, which may be scaled, and the real one.

What is measured of a NAT, and what is waited for, is in seconds of the NAT's clock: behind a relay that runs with
`--time-scale 100` a limit of 350 s is over in 3.5. What the network and the kernels take (a round trip, a keepalive
probe) is in real seconds. A test may give a probe and its server a clock of its own, which it moves on itself.

The clock also knows by how much a busy host makes what is noted late. While a probe runs a task wakes every few
milliseconds: what is noted now cannot have come before the event loop had the turn before. A clock that is scaled
makes these milliseconds seconds of the NAT's, so a difference below them is no finding.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager

import anyio

from relay.clock import real_s

_BEAT_S = 0.005  # real


class ProbeClock:
    """The NAT's clock: the real one, `scale` times as fast."""

    def __init__(self, scale: float = 1.0) -> None:
        self.scale = scale
        self._beats: deque[float] = deque(maxlen=2)

    def now_s(self) -> float:
        """Now, in the NAT's seconds."""
        return real_s() * self.scale

    def error_s(self) -> float:
        """By how much what is noted now may be late, in the NAT's seconds; infinity outside of `beating`.

        That is the time since the last beat but one: the last one may be of the same turn of the event loop, after
        whatever held the loop up.
        """
        return (real_s() - self._beats[0]) * self.scale if self._beats else math.inf

    @asynccontextmanager
    async def beating(self) -> AsyncIterator[None]:
        """Keep `error_s` known for as long as the block lasts."""
        try:
            async with anyio.create_task_group() as tasks:
                self.beat()
                tasks.start_soon(self._keep_beating)
                yield
                tasks.cancel_scope.cancel()
        finally:
            self._beats.clear()

    def beat(self) -> None:
        """The event loop has a turn."""
        self._beats.append(real_s())

    async def _keep_beating(self) -> None:
        while True:
            await anyio.sleep(_BEAT_S)
            self.beat()

    async def sleep(self, seconds: float) -> None:
        """Let so many of the NAT's seconds pass."""
        await anyio.sleep(max(0.0, seconds) / self.scale)

    @contextmanager
    def limit(self, seconds: float) -> Iterator[anyio.CancelScope]:
        """Leave the block after so many of the NAT's seconds."""
        with anyio.move_on_after(max(0.0, seconds) / self.scale) as scope:
            yield scope

    @contextmanager
    def patience(self, seconds: float) -> Iterator[anyio.CancelScope]:
        """Leave the block after so many real seconds, in which what is waited for would have come over the network."""
        with self.limit_really(seconds) as scope:
            yield scope

    async def sleep_really(self, seconds: float) -> None:
        """Let real seconds pass."""
        await anyio.sleep(seconds)

    @contextmanager
    def limit_really(self, seconds: float) -> Iterator[anyio.CancelScope]:
        """Leave the block after so many real seconds."""
        with anyio.move_on_after(seconds) as scope:
            yield scope
