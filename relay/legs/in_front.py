"""A leg in front of another: what it does not do itself, the one behind it does."""

from __future__ import annotations

from collections.abc import Callable, Collection

from relay.abilities import Want
from relay.address import Endpoint
from relay.events import Side
from relay.legs._api import Leg, Loop, PeerSocket, Process, Witness


class LegInFront:
    """Hands on all but what sends and ends; see `Leg` for what each call means."""

    __slots__ = ("behind",)

    def __init__(self, behind: Leg) -> None:
        self.behind = behind

    # What the leg behind it does

    @property
    def side(self) -> Side:
        return self.behind.side

    @property
    def frozen(self) -> bool:
        return self.behind.frozen

    @property
    def broken(self) -> int:
        return self.behind.broken

    @broken.setter
    def broken(self, broken: int) -> None:
        self.behind.broken = broken

    @property
    def timed_out(self) -> bool:
        return self.behind.timed_out

    @property
    def loop(self) -> Loop:
        return self.behind.loop

    @property
    def local(self) -> Endpoint | None:
        return self.behind.local

    @property
    def peer(self) -> Endpoint | None:
        return self.behind.peer

    def receive_into(self, buffer: memoryview) -> int:
        return self.behind.receive_into(buffer)

    def find_broken(self) -> bool:
        return self.behind.find_broken()

    def waiting_bytes(self) -> int:
        return self.behind.waiting_bytes()

    def unread_bytes(self) -> int:
        return self.behind.unread_bytes()

    def watch(self, wants: Collection[Want], witness: Witness) -> None:
        self.behind.watch(wants, witness)

    def unwatch(self) -> None:
        self.behind.unwatch()

    def glimpse_process(self) -> Process | None:
        return self.behind.glimpse_process()

    def find_process(self) -> Process | None:
        return self.behind.find_process()

    def look_at_peer(self) -> PeerSocket | None:
        return self.behind.look_at_peer()

    def freeze(self) -> None:
        self.behind.freeze()

    def thaw(self) -> None:
        self.behind.thaw()

    def blackhole(self, on: bool) -> bool:
        return self.behind.blackhole(on)

    def set_keepalive(self, idle_s: int, interval_s: int, count: int) -> None:
        self.behind.set_keepalive(idle_s, interval_s, count)

    def probe(self, answered: Callable[[], None]) -> bool:
        return self.behind.probe(answered)

    def answer_probe(self) -> None:
        self.behind.answer_probe()

    def limit_window(self, size_bytes: int) -> None:
        self.behind.limit_window(size_bytes)


def last_leg(leg: Leg) -> Leg:
    """The leg that is behind all others: the one that has the connection."""
    return leg.behind if isinstance(leg, LegInFront) else leg
