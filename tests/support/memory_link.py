"""A link in memory: what a test puts in is received, what is sent is kept."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence

from relay.wire.link._api import Watching
from relay.wire.packet import Buffer


class MemoryLink:
    """As `relay.wire.link.Link` says."""

    name = "memory"
    mtu = 1500
    vouched = False

    def __init__(self, *, ethernet: bool = False, offload: bool = False) -> None:
        self.ethernet = ethernet
        self.offload = offload
        self.dropped = 0
        self.arriving: deque[bytes] = deque()
        self.sent: list[bytes] = []
        self.cuts: list[int | None] = []
        """With each datagram that was sent: its `segment_bytes`."""
        self.sizes: list[list[int]] = []
        """And the sizes of its parts."""
        self.is_closed = False

    def watch(self, engine: Watching, on_readable: Callable[[], None]) -> None:
        self.on_readable = on_readable

    def receive(self) -> memoryview | None:
        return memoryview(bytearray(self.arriving.popleft())) if self.arriving else None

    def send(self, parts: Sequence[Buffer], segment_bytes: int | None = None) -> bool:
        self.sent.append(b"".join(parts))
        self.cuts.append(segment_bytes)
        self.sizes.append([len(part) for part in parts])
        return True

    def close(self) -> None:
        self.is_closed = True

    def take_sent(self) -> list[bytes]:
        """What was sent since the last call."""
        sent, self.sent = self.sent, []
        return sent
