"""The guarantees of `relay.legs.Leg` as checks that any implementation can be put to.

    @asynccontextmanager
    async def open_pair():
        loop = MemoryLoop()
        peer, leg = memory_pair(loop)
        async def wait(seconds):
            loop.advance(seconds)
        yield LegPair(peer, leg, wait)

    await check_leg(open_pair)

Each check has a connection of its own. It holds the leg's guarantees against what the other end, a leg as well, sees.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager

import anyio

from relay.testing._leg_checks.controls import CONTROL_CHECKS
from relay.testing._leg_checks.endings import ENDING_CHECKS
from relay.testing._leg_checks.ends import Check, Ends, LegPair
from relay.testing._leg_checks.owner import OWNER_CHECKS
from relay.testing._leg_checks.transfer import TRANSFER_CHECKS

CHECKS: tuple[Check, ...] = (*TRANSFER_CHECKS, *ENDING_CHECKS, *OWNER_CHECKS, *CONTROL_CHECKS)


async def check_leg(open_pair: Callable[[], AbstractAsyncContextManager[LegPair]]) -> None:
    """Put an implementation of `relay.legs.Leg` to every one of its guarantees, all at the same time.

    Args:
        open_pair: makes a fresh connection for each check, and ends it when the block is left.

    Raises:
        AssertionError: guarantees do not hold; the message names each.
    """
    failures: list[str] = []

    async def run(check: Check) -> None:
        async with open_pair() as pair:
            try:
                await check(Ends(pair))
            except AssertionError as failed:
                failures.append(f"{check.__name__.replace('_', ' ')}: {failed}")

    async with anyio.create_task_group() as tasks:
        for check in CHECKS:
            tasks.start_soon(run, check)
    if failures:
        raise AssertionError("; ".join(failures))
