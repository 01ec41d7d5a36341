"""What the two legs of a flow of datagrams have in common.

Such a leg has the methods of `relay.legs.Leg`, and other guarantees: what is written and read is one datagram with its
header (`relay.protocols.socks5_udp`), whole or not at all. There is neither FIN nor RST, so to finish, to reset and to
close it are one. What its kernel does not take at once is lost, as on any way, and counted by reason.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Collection
from typing import TypeAlias

from relay.abilities import Want
from relay.address import Endpoint
from relay.events import Side
from relay.legs import LegOwner, PeerSocket, Process, Witness
from relay.legs.unowned import NO_OWNER
from relay.loop.engine import Engine

Dropped: TypeAlias = Callable[[str], None]
"""Takes note of a datagram that was dropped, and why."""


class DatagramLeg(ABC):
    """One side of a mapping. Only the engine's thread may touch it."""

    broken = 0
    has_unsent = False
    timed_out = False

    def __init__(self, engine: Engine, side: Side) -> None:
        self.loop: Engine = engine
        self.side = side
        self.owner: LegOwner = NO_OWNER
        self.readable = True
        self.closed = False
        self.frozen = False

    @property
    @abstractmethod
    def local(self) -> Endpoint | None:
        """Our end's address."""

    @property
    def peer(self) -> Endpoint | None:
        """The peer's address; None where there are several."""
        return None

    @property
    def has_room(self) -> bool:
        """Whether datagrams are written now. Whether they arrive is unknown."""
        return not self.frozen

    @abstractmethod
    def receive_into(self, buffer: memoryview) -> int:
        """Read one datagram; `WOULD_BLOCK` if there is none."""

    @abstractmethod
    def write(self, data: bytes | bytearray | memoryview) -> None:
        """Send one datagram."""

    def close(self) -> None:
        """Neither read nor send any more; harmless when repeated."""
        if not self.closed:
            self.closed, self.readable, self.owner = True, False, NO_OWNER
            self._let_go()

    @abstractmethod
    def _let_go(self) -> None:
        """Give back what the leg has."""

    def finish(self) -> None:
        self.close()

    def reset(self) -> None:
        self.close()

    def reset_after_data(self) -> None:
        self.close()

    def forget(self) -> bool:
        self.close()
        return True

    def freeze(self) -> None:
        """Stop reading and sending. What comes waits in the kernel's buffer; what that has no room for is lost."""
        self.frozen = True

    def thaw(self) -> None:
        self.frozen = False
        self.owner.on_leg_ready(self)

    # What datagrams have not

    def flush(self) -> None:
        return  # nothing waits

    def find_broken(self) -> bool:
        return False

    def unacked_bytes(self) -> int:
        return 0

    def waiting_bytes(self) -> int:
        return 0

    def unread_bytes(self) -> int:
        return 0

    def watch(self, wants: Collection[Want], witness: Witness) -> None:
        return  # there is nothing to see

    def unwatch(self) -> None:
        return  # nothing was watched

    def glimpse_process(self) -> Process | None:
        return None

    def find_process(self) -> Process | None:
        return None

    def look_at_peer(self) -> PeerSocket | None:
        return None

    def blackhole(self, on: bool) -> bool:
        return False

    def set_keepalive(self, idle_s: int, interval_s: int, count: int) -> None:
        return  # there are no probes

    def probe(self, answered: Callable[[], None]) -> bool:
        return False

    def answer_probe(self) -> None:
        return  # there are none

    def limit_window(self, size_bytes: int) -> None:
        return  # there is no window
