"""Slots: what flows share and what there is only so much of, such as a NAT's ports, or the dials that it keeps up with.

A pool belongs to a behaviour, by a name, and is for the whole relay or for one destination. A flow that has taken a
slot has it until it gives it back, or is over, however it ended. Those that wait for one have it in the order in which
they asked, and no flow that asks later is before them.

A worker's relay has its part of every pool, and at least one slot.
"""

from __future__ import annotations

import math
from functools import partial
from typing import TYPE_CHECKING, TypeAlias

from relay.actions import GiveSlot, TakeSlot
from relay.address import Endpoint
from relay.events import SlotDenied, SlotTaken
from relay.loop.engine import Engine

if TYPE_CHECKING:
    from relay.driver.flow import Flow

_Key: TypeAlias = tuple[str, Endpoint | None]
"""A pool: the behaviour's name and its own for it, and the destination that the pool is for."""


class _Pool:
    __slots__ = ("key", "taken", "waiting")

    def __init__(self, key: _Key) -> None:
        self.key = key
        self.taken = 0
        self.waiting: dict[Flow, int] = {}  # each with the limit that it was given, in order


class Slots:
    """The pools of one relay."""

    def __init__(self, engine: Engine, *, part: int = 0, of: int = 1) -> None:
        """Of each limit this relay has part number `part`, counted from 0, of `of` parts."""
        self._engine = engine
        self._part = part
        self._of = of
        self._pools: dict[_Key, _Pool] = {}
        self._kept: dict[Flow, tuple[_Pool, ...]] = {}
        """Those of which each flow has a slot, or waits for one."""

    def take(self, flow: Flow, because: str, action: TakeSlot) -> None:
        """Let a flow have a slot, wait for one, or know that there is none."""
        key = (f"{because}/{action.pool}", flow.destination if action.per == "destination" else None)
        pool, kept = self._pools.get(key) or _Pool(key), self._kept.get(flow, ())
        if pool in kept:
            if flow not in pool.waiting:
                self._tell(SlotTaken, flow, pool)
            return
        limit = self._part_of(action.limit)
        has_room = pool.taken < limit and not pool.waiting
        if not (has_room or action.wait):
            flow.log.write("slot-denied", pool=action.pool, limit=limit, per=action.per, because=because)
            self._tell(SlotDenied, flow, pool)
            return
        self._pools[key] = pool
        self._kept[flow] = (*kept, pool)
        if has_room:
            pool.taken += 1
            self._tell(SlotTaken, flow, pool)
        else:
            pool.waiting[flow] = limit
            flow.log.write("slot-awaited", pool=action.pool, limit=limit, per=action.per, because=because)

    def give(self, flow: Flow, because: str, action: GiveSlot) -> None:
        """Take a flow's slot back, now or later. Without one it does nothing; one that waits waits no more."""
        name, kept = f"{because}/{action.pool}", self._kept.get(flow, ())
        given = [pool for pool in kept if pool.key[0] == name]
        if given:
            self._kept[flow] = tuple(pool for pool in kept if pool not in given)
        for pool in given:
            self._take_back(flow, pool, action.after_s)

    def release(self, flow: Flow) -> None:
        """Take back what a flow has that is over."""
        for pool in self._kept.pop(flow, ()):
            self._take_back(flow, pool, 0.0)

    def _part_of(self, limit: int) -> int:
        part, rest = divmod(limit, self._of)
        return max(1, part + (self._part < rest))

    @staticmethod
    def _tell(kind: type[SlotTaken | SlotDenied], flow: Flow, pool: _Pool) -> None:
        flow.take(kind(flow.now_s(), pool.key[0]))

    def _take_back(self, flow: Flow, pool: _Pool, after_s: float) -> None:
        if flow in pool.waiting:
            del pool.waiting[flow]
            self._hand_on(pool)
        elif not after_s:
            self._free(pool)
        elif after_s < math.inf:
            self._engine.nat.call_later(after_s, partial(self._free, pool))

    def _free(self, pool: _Pool) -> None:
        pool.taken -= 1
        self._hand_on(pool)

    def _hand_on(self, pool: _Pool) -> None:
        """Give the flows that wait what is free. Each goes on later: the one that gave it is not through yet."""
        while pool.waiting:
            flow, limit = next(iter(pool.waiting.items()))
            if pool.taken >= limit:
                break
            del pool.waiting[flow]
            pool.taken += 1
            self._engine.call_soon(partial(self._go_on, flow, pool))
        if not (pool.taken or pool.waiting):
            del self._pools[pool.key]

    def _go_on(self, flow: Flow, pool: _Pool) -> None:
        if pool in self._kept.get(flow, ()):  # else it has ended meanwhile
            flow.get_slot(pool.key[0])
