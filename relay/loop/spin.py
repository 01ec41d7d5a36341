"""Polls again at once, instead of going to sleep, while that pays.

The answer to a segment often comes sooner than a sleeping CPU wakes: on a virtual machine a wake-up takes 30 to 60 us,
more than the relay's whole work on a small message. So after a turn that found something ready the engine goes on
polling for `SPIN_S`. If nothing comes, it does so only at every second such turn, then at every fourth, and so on up to
every 64th. So polling costs a flow with rare data next to nothing, and a dense exchange never waits for a wake-up.

Bulk is different. While the relay sleeps more bytes arrive, and are then moved in fewer steps: polling again at once
took 40 % more CPU time for each byte, and moved no byte sooner. But a sleep by way of the host's loop costs some 20 us
on trio, for bulk as well. So the engine itself sleeps for bulk, for `NAP_S` at most.
"""

from __future__ import annotations

from collections.abc import Callable

from relay.clock import real_s

SPIN_S = 60e-6
NAP_S = 1e-3  # the shortest timeout that epoll takes
_AT_MOST_S = 2e-3  # in one go: then the other tasks of the relay's program have their turn
_MAX_MISSES = 6


class Spin:
    """Decides whether to look again, by whether that has paid lately."""

    def __init__(self) -> None:
        self._misses = 0
        self._passes = 0
        self._bulk = False

    def nap(self) -> None:
        """Report bulk: the next poll sleeps until something comes."""
        self._bulk = True

    def run(self, step: Callable[[float], bool]) -> None:
        """Call `step`, which says whether it found anything to do, for as long as that is worth it.

        It is given the seconds that it may wait for something.
        """
        if self._passes:
            self._passes -= 1
            self._bulk = False
            return
        now_s = real_s()
        until_s, at_most_s = now_s + SPIN_S, now_s + _AT_MOST_S
        paid = False
        while now_s < until_s:
            bulk, self._bulk = self._bulk, False
            found = step(NAP_S if bulk else 0)
            now_s = real_s()
            if found:
                paid = True
                until_s = min(now_s + SPIN_S, at_most_s)
            elif bulk:
                break
        self._misses = 0 if paid else min(self._misses + 1, _MAX_MISSES)
        self._passes = (1 << self._misses) - 1
