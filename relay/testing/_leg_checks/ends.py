"""A pair of legs under check: their owners, and how a check waits, reads and compares."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any, TypeAlias

import anyio

from relay.events import Event
from relay.legs import WOULD_BLOCK, Leg

_DEADLINE_S = 10.0
STEP_S = 0.002
MUCH = bytes(range(256)) * 40_000  # 10 MB: more than any window
SOME = b"some bytes"


@dataclass
class LegPair:
    """The two ends of one connection: `leg` is the one that is checked."""

    peer: Leg
    leg: Leg
    wait: Callable[[float], Awaitable[None]] = anyio.sleep
    """Lets so many seconds pass on the legs' own clock."""


@dataclass
class Owner:
    """Counts how often it is called, and sees when that happens inside a call of its own."""

    calls: int = 0
    inside: bool = False
    called_inside: bool = field(default=False, init=False)
    seen: list[Event] = field(default_factory=list, init=False)

    def on_leg_ready(self, leg: Any) -> None:
        self.calls += 1
        self.called_inside |= self.inside

    def on_leg_saw(self, event: Event, withheld: bool) -> None:
        self.seen.append(event)


class Ends:
    """A pair with owners, and what checks do with it."""

    def __init__(self, pair: LegPair) -> None:
        self.peer, self.leg, self.wait = pair.peer, pair.leg, pair.wait
        self.owner = Owner()
        self.peer.owner, self.leg.owner = Owner(), self.owner
        self._buffer = memoryview(bytearray(1 << 16))

    async def until(self, condition: Callable[[], object], what: str) -> None:
        """Wait for something to come about.

        Raises:
            AssertionError: it did not, within ten seconds.
        """
        for _ in range(round(_DEADLINE_S / STEP_S)):
            if condition():
                return
            await self.wait(STEP_S)
        raise AssertionError(f"not within {_DEADLINE_S:g} s: {what}")

    async def receive(self, leg: Leg, limit: int = 1 << 16) -> bytes | int:
        """What one read gives, once it gives anything: bytes, 0 or BROKEN."""
        found: list[int] = []

        def read() -> bool:
            if leg.readable and (count := leg.receive_into(self._buffer[:limit])) != WOULD_BLOCK:
                found.append(count)
            return bool(found)

        await self.until(read, "a read gives something")
        return bytes(self._buffer[: found[0]]) if found[0] > 0 else found[0]

    async def receive_all(self, leg: Leg) -> tuple[bytes, int]:
        """Everything up to the end, and which end it was: 0 or BROKEN."""
        data = bytearray()
        while isinstance(got := await self.receive(leg), bytes):
            data += got
        return bytes(data), got

    async def acknowledged(self, leg: Leg) -> None:
        """Wait until the other end has all that was written to this one."""
        await self.until(lambda: leg.unacked_bytes() == 0, "everything is acknowledged")


Check: TypeAlias = Callable[[Ends], Awaitable[None]]
"""Holds one guarantee against a fresh pair.

Raises:
    AssertionError: it does not hold.
"""
