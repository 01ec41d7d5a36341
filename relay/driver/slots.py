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
    __slots__ = ("taken", "waiting")

    def __init__(self) -> None:
        self.taken = 0
        self.waiting: dict[Flow, int] = {}  # each with the limit that it was given, in order


class Slots:
    """The pools of one relay."""

    def __init__(self, engine: Engine, *, part: int = 0, of: int = 1) -> None:
        """Of each limit this relay has part number `part`, from 0, of so many."""
        self._engine = engine
        self._part = part
        self._of = of
        self._pools: dict[_Key, _Pool] = {}
        self._kept: dict[Flow, dict[_Key, None]] = {}
        """What each flow has, or waits for."""

    def take(self, flow: Flow, because: str, action: TakeSlot) -> None:
        """Let a flow have a slot, wait for one, or know that there is none."""
        name = f"{because}/{action.pool}"
        key = (name, flow.destination if action.per == "destination" else None)
        pool, kept = self._pools.setdefault(key, _Pool()), self._kept.setdefault(flow, {})
        limit = self._part_of(action.limit)
        if key in kept:
            if flow not in pool.waiting:
                flow.take(SlotTaken(flow.now_s(), name))
        elif pool.taken < limit and not pool.waiting:
            pool.taken += 1
            kept[key] = None
            flow.take(SlotTaken(flow.now_s(), name))
        elif action.wait:
            pool.waiting[flow] = limit
            kept[key] = None
            flow.log.write("slot-awaited", pool=action.pool, limit=limit, per=action.per, because=because)
        else:
            flow.log.write("slot-denied", pool=action.pool, limit=limit, per=action.per, because=because)
            flow.take(SlotDenied(flow.now_s(), name))

    def give(self, flow: Flow, because: str, action: GiveSlot) -> None:
        """Take a flow's slot back, now or later. Without one it does nothing; one that waits waits no more."""
        name, kept = f"{because}/{action.pool}", self._kept.get(flow, {})
        for key in [key for key in kept if key[0] == name]:
            del kept[key]
            self._take_back(flow, key, action.after_s)

    def release(self, flow: Flow) -> None:
        """Take back what a flow has that is over."""
        for key in self._kept.pop(flow, ()):
            self._take_back(flow, key, 0.0)

    def _part_of(self, limit: int) -> int:
        part, rest = divmod(limit, self._of)
        return max(1, part + (self._part < rest))

    def _take_back(self, flow: Flow, key: _Key, after_s: float) -> None:
        pool = self._pools[key]
        if flow in pool.waiting:
            del pool.waiting[flow]
            self._hand_on(key, pool)
        elif not after_s:
            self._free(key)
        elif after_s < math.inf:
            self._engine.nat.call_later(after_s, partial(self._free, key))

    def _free(self, key: _Key) -> None:
        pool = self._pools[key]
        pool.taken -= 1
        self._hand_on(key, pool)

    def _hand_on(self, key: _Key, pool: _Pool) -> None:
        """Give the flows that wait what is free. Each goes on later: the one that gave it is not through yet."""
        while pool.waiting:
            flow, limit = next(iter(pool.waiting.items()))
            if pool.taken >= limit:
                break
            del pool.waiting[flow]
            pool.taken += 1
            self._engine.call_soon(partial(self._go_on, flow, key))
        if not (pool.taken or pool.waiting):
            del self._pools[key]

    def _go_on(self, flow: Flow, key: _Key) -> None:
        if key in self._kept.get(flow, ()):  # else it has ended meanwhile
            flow.get_slot(key[0])
