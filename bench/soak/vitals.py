"""What the relay's process has: flows, tasks, descriptors, blocks, memory; and whether it is flat.

Flows, tasks and descriptors must be, at every lull, what they were before any traffic; the pipes that the relay keeps
for another time do not count, nor do the filter programs, of which it loads one for each precedence and mask it meets.
The rest is judged where the relay has been idle for longer than it keeps anything that is over: at the first lull, when
all caches are warm, and at the last.

* `held` are the flows and legs that exist as objects, with or without a holder.
* `blocks` are what the interpreter has allocated of small memory: a count that knows no fragmentation, so that a string
  or an integer kept for each flow is seen.
* Memory is RssAnon of proc(5), after a garbage collection and malloc_trim(3): file-backed pages, which come and go as
  code is run for the first time, do not count. The allocator takes longer to warm up than the caches, so memory is that
  of the last lull against that of the one half-way.
"""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from bench.soak.subject import Subject
from relay.legs.ending import WIND_DOWN_S

IDLE_S = WIND_DOWN_S + 1.0
_SETTLE_S = 15.0  # a leg winds down for 5 s, and one that is to be reset after its data may stall for 5 s before
_POLL_S = 0.05
MAX_HELD = 6  # the last flow or two, with their legs: in a frame that waits, a thread that looks up, an exception
MAX_GROWTH_BLOCKS = 10_000  # up to 1024 offences that came early and 512 cancelled timers, with what they hold
MAX_GROWTH_BYTES = 4 << 20  # the interpreter's arenas are of 1 MiB, and one object keeps a whole one


@dataclass(frozen=True)
class Vitals:
    """What the process had at one moment."""

    at_s: float
    flows: int
    tasks: int
    descriptors: int
    pipes: int
    held: int
    blocks: int
    memory_bytes: int

    @property
    def to_be_kept(self) -> tuple[int, int, int]:
        """What must be the same at every lull."""
        return self.flows, self.tasks, self.descriptors_in_use

    @property
    def descriptors_in_use(self) -> int:
        """All but the two of each pipe that the relay keeps for another time."""
        return self.descriptors - 2 * self.pipes


async def take(subject: Subject) -> Vitals:
    """Look now."""
    counted = await subject.command("count")
    process = Path(f"/proc/{subject.pid}")
    status = (process / "status").read_text().splitlines()
    anonymous_kib = next(line.split()[1] for line in status if line.startswith("RssAnon"))
    descriptors = sum(not _is_program(each) for each in (process / "fd").iterdir())
    return Vitals(at_s=time.monotonic(), descriptors=descriptors, memory_bytes=int(anonymous_kib) << 10, **counted)


def _is_program(descriptor: Path) -> bool:
    try:
        return os.readlink(descriptor).endswith("bpf-prog")
    except FileNotFoundError:
        return False


async def settle(subject: Subject, before: Vitals) -> Vitals:
    """Wait until the relay has again what it had before, within reason; what it has then."""
    deadline_s = time.monotonic() + _SETTLE_S
    while True:
        now = await take(subject)
        if now.to_be_kept == before.to_be_kept or now.at_s > deadline_s:
            return now
        await asyncio.sleep(_POLL_S)


def leaks(before: Vitals, now: Vitals) -> list[str]:
    """What has not come back to what it was before any traffic."""
    pairs = (
        ("flows", before.flows, now.flows),
        ("tasks", before.tasks, now.tasks),
        ("descriptors", before.descriptors_in_use, now.descriptors_in_use),
    )
    return [f"{what}: {has}, and {had} before any traffic" for what, had, has in pairs if has != had]


def growth(lulls: Sequence[Vitals]) -> list[str]:
    """What has grown more than it may."""
    warm, half_way, last = lulls[0], lulls[(len(lulls) - 1) // 2], lulls[-1]
    grown = []
    if last.held > MAX_HELD:
        grown.append(f"flows and legs that exist: {last.held}; {MAX_HELD} may")
    if (blocks := last.blocks - warm.blocks) > MAX_GROWTH_BLOCKS:
        grown.append(f"blocks: {blocks} more than when warm; {MAX_GROWTH_BLOCKS} may be")
    if (memory_bytes := last.memory_bytes - half_way.memory_bytes) > MAX_GROWTH_BYTES:
        grown.append(f"memory: {memory_bytes >> 10} KiB more than half-way; {MAX_GROWTH_BYTES >> 10} may be")
    return grown
