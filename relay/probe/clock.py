"""The clocks of a probe: the NAT's, which may be scaled, and the real one.

What is measured of a NAT, and what is waited for, is in seconds of the NAT's clock: behind a relay that runs with
`--time-scale 100` a limit of 350 s is over in 3.5. What the network and the kernels take (a round trip, a keepalive
probe) is in real seconds. A test may give a probe and its server a clock of its own, which it moves on itself.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import anyio

from relay.clock import real_s


class ProbeClock:
    """The NAT's clock: the real one, `scale` times as fast."""

    def __init__(self, scale: float = 1.0) -> None:
        self.scale = scale

    def now_s(self) -> float:
        """Now, in the NAT's seconds."""
        return real_s() * self.scale

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
