"""Moving a NAT's clock on: the engine comes to rest first, then what is due happens, one thing after the other.

    settling     work until nothing is ready, nothing is put off, and the caller finds no reason to wait
    advancing    each callback that is due, with the clock at its moment; settling after each

Both are generators of the seconds that they want to wait before they look again; most often they want none. So there is
one procedure for those who may block the engine's thread (`finish`) and for tasks on it (`follow`).

On Linux, what a peer on this host has sent, its FIN and its RST, are there to be read when its call returns. On other
systems they may be on their way, so there the engine is at rest once it has had nothing to do for `_QUIET_S`.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Generator
from contextlib import closing
from typing import TypeAlias, TypeVar

import anyio

from relay.clock import real_s
from relay.loop.engine import Engine

SETTLE_S = 1.0
"""How long settling may take, in real seconds."""
_LOOK_AGAIN_S = 0.001
_QUIET_S = 0.0 if sys.platform == "linux" else 0.02
_QUIET_BY_TASKS_S = 0.02  # the host's loop goes round a few times before a ready socket is reported

ResultT = TypeVar("ResultT")
Steps: TypeAlias = Generator[float, None, ResultT]
"""A procedure that gives the real seconds to wait before it goes on."""


class Restless(Exception):
    """It does not settle."""

    def __init__(self, moved_s: float | None = None) -> None:
        super().__init__(f"it does not settle within {SETTLE_S:g} s")
        self.moved_s = moved_s
        """How far the clock had come, if there was more to do then."""


def settling(engine: Engine, rests: Callable[[], bool], after: Callable[[], None] | None = None) -> Steps[None]:
    """Work until there is nothing more to do, and `rests` agrees, which is asked then.

    With `after` that is called first. If there is nothing to do then, everything rests as before, and is not looked at:
    thousands of flows may end one after the other.

    Raises:
        Restless: that takes longer than `SETTLE_S`.
        RuntimeError: it was called by a callback of the engine's.
    """
    quiet_s = _QUIET_S if engine.has_descriptor else _QUIET_BY_TASKS_S
    quiet_from_s = real_s()
    until_s = quiet_from_s + SETTLE_S
    worked = engine.work(until_s, first=after)
    if after is not None and not worked and not quiet_s:
        return
    while True:
        if worked:
            quiet_from_s = real_s()
        now_s = real_s()
        if now_s >= until_s:
            raise Restless
        if now_s >= quiet_from_s + quiet_s and rests():
            return
        yield _LOOK_AGAIN_S
        worked = engine.work(until_s)


def advancing(engine: Engine, seconds: float, rests: Callable[[], bool]) -> Steps[None]:
    """Let `seconds` pass on the NAT's clock, and settle after each callback that is due meanwhile.

    Raises:
        Restless: it does not settle; the clock stays at the moment that it had come to.
    """
    with closing(engine.nat.due_within(seconds)) as due:
        for moved_s, callback in due:
            try:
                yield from settling(engine, rests, callback)
            except Restless:
                raise Restless(moved_s) from None


def finish(engine: Engine, steps: Steps[ResultT]) -> ResultT:
    """Carry a procedure out now. No other task of the host's loop has a turn meanwhile; so where readiness comes by
    tasks, nothing becomes ready."""
    result = list[ResultT]()
    with closing(steps):
        for wait_s in _waits(steps, result):
            engine.work(real_s(), wait_s)
    return result[0]


async def follow(engine: Engine, steps: Steps[ResultT]) -> ResultT:
    """Carry a procedure out; other tasks, and the engine itself, go on while it waits."""
    result = list[ResultT]()
    with closing(steps):
        for wait_s in _waits(steps, result):
            go_on = anyio.Event()
            timer = engine.call_later(wait_s, go_on.set)
            try:
                await go_on.wait()
            finally:
                timer.cancel()
    return result[0]


def _waits(steps: Steps[ResultT], result: list[ResultT]) -> Generator[float, None, None]:
    """Go through a procedure; at its end its result is in the list."""
    result.append((yield from steps))
