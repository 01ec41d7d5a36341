"""What the relay's process has: flows, tasks, descriptors, objects, memory; and whether it is flat.

Flows, tasks and descriptors must be, at every lull, what they were before any traffic. Of pipes the relay keeps a pool,
so that they need only be no more than that may have. The rest is judged where the
relay has been idle for longer than it keeps anything that is over: at the first lull, when all caches are warm, and at
the last.

* `held` are the flows and legs that exist as objects, whoever holds them.
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
from relay.net.leg import WIND_DOWN_S

IDLE_S = WIND_DOWN_S + 1.0
_SETTLE_S = 15.0  # a leg winds down for 5 s, and one that is to be reset after its data may stall for 5 s before
_POLL_S = 0.05
MAX_PIPE_ENDS = 2 * 32  # the pool's limit, twice
MAX_HELD = 6  # the last flow or two, with their legs: in a frame that waits, a thread that looks up, an exception
MAX_GROWTH_OBJECTS = 3000  # up to 512 timers that are cancelled, with what they hold, and the relay's bounded caches
MAX_GROWTH_BYTES = 2 << 20  # arenas that a few objects keep; a leak of 100 bytes a flow is more in five minutes


@dataclass(frozen=True)
class Vitals:
    """What the process had at one moment."""

    at_s: float
    flows: int
    tasks: int
    descriptors: int
    """Those of pipes apart."""
    pipe_ends: int
    held: int
    objects: int
    memory_bytes: int

    @property
    def to_be_kept(self) -> tuple[int, int, int]:
        """What must be the same at every lull."""
        return self.flows, self.tasks, self.descriptors


async def take(subject: Subject) -> Vitals:
    """Look now."""
    counted = await subject.command("count")
    process = Path(f"/proc/{subject.pid}")
    status = (process / "status").read_text().splitlines()
    anonymous_kib = next(line.split()[1] for line in status if line.startswith("RssAnon"))
    kinds = [_kind(descriptor) for descriptor in (process / "fd").iterdir()]
    pipes = kinds.count("pipe")
    return Vitals(
        at_s=time.monotonic(),
        descriptors=len(kinds) - pipes,
        pipe_ends=pipes,
        memory_bytes=int(anonymous_kib) << 10,
        **counted,
    )


def _kind(descriptor: Path) -> str:
    """What it is of: `pipe`, `socket`, `anon_inode`, or a file's path."""
    return os.readlink(descriptor).partition(":")[0]


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
        ("descriptors", before.descriptors, now.descriptors),
    )
    leaked = [f"{what}: {has}, and {had} before any traffic" for what, had, has in pairs if has != had]
    if (pipe_ends := now.pipe_ends - before.pipe_ends) > MAX_PIPE_ENDS:
        leaked.append(f"ends of pipes: {pipe_ends} more than before any traffic; {MAX_PIPE_ENDS} may be")
    return leaked


def growth(lulls: Sequence[Vitals]) -> list[str]:
    """What has grown more than it may."""
    warm, half_way, last = lulls[0], lulls[len(lulls) // 2], lulls[-1]
    grown = []
    if last.held > MAX_HELD:
        grown.append(f"flows and legs that exist: {last.held}; {MAX_HELD} may")
    if (objects := last.objects - warm.objects) > MAX_GROWTH_OBJECTS:
        grown.append(f"objects: {objects} more than when warm; {MAX_GROWTH_OBJECTS} may be")
    if (memory_bytes := last.memory_bytes - half_way.memory_bytes) > MAX_GROWTH_BYTES:
        grown.append(f"memory: {memory_bytes >> 10} KiB more than half-way; {MAX_GROWTH_BYTES >> 10} may be")
    return grown
