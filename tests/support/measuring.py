"""Times that are measured where others use the processors, too."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator

_TRIES = 8


def least(measure: Callable[[], float], enough: float) -> float:
    """The least of a few measurements; the first that is below `enough` is enough.

    What takes long by itself does so in each of them; others do not always have the processors.
    """
    found = measure()
    for _ in range(_TRIES - 1):
        if found < enough:
            break
        found = min(found, measure())
    return found


class TooSlowError(Exception):
    """This host has not done in time what has to be done before a limit is over."""


@contextlib.contextmanager
def within(seconds: float) -> Iterator[None]:
    """What is done in the block may not take longer.

    Raises:
        TooSlowError: it has, whether it came out well or not.
    """
    began_s = time.monotonic()
    try:
        yield
    finally:
        if time.monotonic() - began_s > seconds:
            raise TooSlowError


def with_limit(play: Callable[[float], object], limit_s: float) -> None:
    """Play something against this limit, in seconds; against a longer one where the host is too slow for it."""
    for _ in range(_TRIES):
        with contextlib.suppress(TooSlowError):
            play(limit_s)
            return
        limit_s *= 3
    raise AssertionError(f"this host is too slow for limits of up to {limit_s / 3:g} s")


def processor_s(pid: int) -> float:
    """The processor time that a process has had, on Linux; without what it waited for a processor."""
    return time.clock_gettime(~pid << 3 | 2)  # linux/posix-timers.h: CPUCLOCK_SCHED of a process
