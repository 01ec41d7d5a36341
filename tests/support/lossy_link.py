"""Two of our TCPs on a virtual clock, with a link between them that loses, doubles and reorders segments."""

from __future__ import annotations

import heapq
import itertools
import random
from dataclasses import dataclass

from relay.stack import Stack
from relay.wire.segment import Segment
from relay.wire.tcp import Seen, Tcp

_LONGEST_S = 3600.0 * 24


@dataclass(frozen=True)
class Link:
    """What happens to each segment; `loss`, `duplication` and `reordering` are probabilities."""

    delay_s: float = 0.001
    loss: float = 0.0
    duplication: float = 0.0
    reordering: float = 0.0
    """How likely a segment is held back for up to ten delays."""


@dataclass(frozen=True)
class Outcome:
    """How a transfer went, in the link's own time."""

    elapsed_s: float
    segments: int
    intact: bool


class _End:
    def __init__(self, tcp: Tcp, to_send: bytes, chunk: int) -> None:
        self.tcp = tcp
        self.received = bytearray()
        self.finished = False
        self._to_send = memoryview(to_send)
        self._chunk = chunk
        self._buffer = memoryview(bytearray(chunk))

    def act(self, now_s: float, seen: int) -> None:
        """Do what a program does: read what there is, send what there is room for, and end when all is sent."""
        if seen & (Seen.TIMED_OUT | Seen.RST):
            raise AssertionError(f"broken at {now_s} s")
        while (count := self.tcp.read_into(self._buffer)) > 0:
            self.received += self._buffer[:count]
        self.finished = self.finished or count == 0
        while len(self._to_send) and self.tcp.has_room:
            self.tcp.send(self._to_send[: self._chunk], now_s)
            self._to_send = self._to_send[self._chunk :]
        if not len(self._to_send):
            self.tcp.finish(now_s)


def transfer(stack: Stack, link: Link, down: bytes, up: bytes, seed: int) -> Outcome:
    """Send `down` and `up` at once, until both FINs have arrived; raises AssertionError if it breaks or stalls."""
    chance = random.Random(seed)  # noqa: S311 - to be repeated
    guest = _End(Tcp.opening(stack, chance.getrandbits(32), 0.0), up, 5000)
    relay: _End | None = None
    order = itertools.count()
    under_way: list[tuple[float, int, bool, Segment]] = []
    now_s, segments = 0.0, 0

    def carry(end: _End) -> None:
        nonlocal segments
        for segment in end.tcp.take_output():
            segments += 1
            for _ in range(1 + (chance.random() < link.duplication)):
                if chance.random() >= link.loss:
                    late_s = link.delay_s * 10 * chance.random() if chance.random() < link.reordering else 0.0
                    arrival = (now_s + link.delay_s + late_s, next(order), end is guest, segment)
                    heapq.heappush(under_way, arrival)

    carry(guest)
    while relay is None or not (guest.finished and relay.finished):
        ends = [end for end in (guest, relay) if end is not None]
        due_s, end = min(((end.tcp.next_deadline_s or _LONGEST_S, end) for end in ends), key=lambda due: due[0])
        if under_way and under_way[0][0] <= due_s:
            now_s, _, to_relay, segment = heapq.heappop(under_way)
            if to_relay and relay is None:
                relay = _End(Tcp.answering(stack, segment, chance.getrandbits(32), now_s), down, 7000)
                relay.tcp.grant(now_s)
                carry(relay)
                continue
            end = relay if to_relay and relay is not None else guest
            seen = end.tcp.on_segment(segment, now_s)
        else:
            now_s = due_s
            assert now_s < _LONGEST_S, "both wait for ever"
            seen = end.tcp.on_deadline(now_s)
        end.act(now_s, seen)
        carry(end)
    return Outcome(now_s, segments, intact=bytes(guest.received) == down and bytes(relay.received) == up)
