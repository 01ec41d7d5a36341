"""A real link that loses, doubles and swaps what it carries, either way, by chance."""

from __future__ import annotations

import random
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

from relay.wire.link import Link
from relay.wire.link._api import Watching
from relay.wire.packet import Buffer


@dataclass(frozen=True)
class Faults:
    """How likely each packet is lost, doubled, or changes places with the next one."""

    loss: float = 0.0
    duplication: float = 0.0
    swap: float = 0.0


@dataclass
class Done:
    """How many packets came to harm."""

    lost: int = 0
    doubled: int = 0
    swapped: int = 0


Item = TypeVar("Item")


class _Way(Generic[Item]):
    """One direction: what is delivered in place of each packet."""

    def __init__(self, faults: Faults, chance: random.Random) -> None:
        self.done = Done()
        self._faults = faults
        self._chance = chance
        self._held: Item | None = None

    def take(self, packet: Item) -> list[Item]:
        roll, faults = self._chance.random, self._faults
        if roll() < faults.loss:
            self.done.lost += 1
            return self.release()
        if self._held is None and roll() < faults.swap:
            self.done.swapped += 1
            self._held = packet
            return []
        packets = [packet, *self.release()]
        if roll() < faults.duplication:
            self.done.doubled += 1
            packets.append(packet)
        return packets

    def release(self) -> list[Item]:
        """What was held back for the next packet."""
        held, self._held = self._held, None
        return [held] if held is not None else []


class BadLink:
    """The same link as the one that it is made of, with faults; see `relay.wire.link.Link`."""

    def __init__(self, link: Link, faults: Faults, seed: int) -> None:
        self.name = link.name
        self.mtu = link.mtu
        self.ethernet = link.ethernet
        self.offload = link.offload
        self.vouched = False
        self._link = link
        chance = random.Random(seed)  # noqa: S311 - to be repeated
        self._outward: _Way[tuple[bytes, bool]] = _Way(faults, chance)
        self._inward: _Way[tuple[bytes, bytes, int | None]] = _Way(faults, chance)
        self._waiting: deque[tuple[bytes, bool]] = deque()

    @property
    def dropped(self) -> int:
        return self._link.dropped

    @property
    def done(self) -> tuple[Done, Done]:
        """What has come to harm from the guest, and to it."""
        return self._outward.done, self._inward.done

    def watch(self, engine: Watching, on_readable: Callable[[], None]) -> None:
        self._link.watch(engine, on_readable)

    def receive(self) -> memoryview | None:
        while not self._waiting:
            packet = self._link.receive()
            if packet is not None:
                self._waiting.extend(self._outward.take((bytes(packet), self._link.vouched)))
            else:
                self._waiting.extend(self._outward.release())
                break
        if not self._waiting:
            return None
        whole, self.vouched = self._waiting.popleft()
        return memoryview(whole)

    def send(self, parts: Sequence[Buffer], segment_bytes: int | None = None) -> bool:
        *headers, payload = map(bytes, parts)
        for each in self._inward.take((b"".join(headers), payload, segment_bytes)):
            self._link.send(each[:2], each[2])
        return True

    def close(self) -> None:
        self._link.close()
