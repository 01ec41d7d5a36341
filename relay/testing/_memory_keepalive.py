"""Keepalive between two legs in memory: what one end asks, and what it hears from the other.

    set_keepalive   a timer of its own probes a silent peer; `count` probes without an answer, and the peer is dead
    ask             one probe, whose answer is called back

An answer is all that comes from the peer, bytes too.
"""

from __future__ import annotations

import errno
from collections.abc import Callable
from typing import TYPE_CHECKING

from relay.legs import Timer

if TYPE_CHECKING:
    from relay.testing._memory_leg import MemoryLeg


class Keepalive:
    """The probes that one leg sends."""

    def __init__(self, leg: MemoryLeg) -> None:
        self._leg = leg
        self._settings: tuple[int, int, int] | None = None
        self._heard_at_s = 0.0
        self._unanswered = 0
        self._answered: Callable[[], None] | None = None
        self._timer: Timer | None = None

    def start(self, idle_s: int, interval_s: int, count: int) -> None:
        """Probe the peer from now on; see `Leg.set_keepalive`."""
        self._settings = (idle_s, interval_s, count)
        self._wait(idle_s)

    def stop(self) -> None:
        """Probe no more."""
        if self._timer is not None:
            self._timer.cancel()

    def ask(self, answered: Callable[[], None]) -> None:
        """Send one probe; `answered` is called, later, once something has come from the peer."""
        self._answered = answered
        if self._leg.other.take_probe():
            self._leg.take_answer()

    def heard(self) -> None:
        """Something has come from the peer."""
        self._unanswered = 0
        self._heard_at_s = self._leg.loop.now_s()
        if self._answered is not None:
            self._leg.loop.call_soon(self._tell)

    def _tell(self) -> None:
        answered, self._answered = self._answered, None
        if answered is not None and not self._leg.closed:
            answered()

    def _wait(self, after_s: float) -> None:
        self.stop()
        self._timer = self._leg.loop.call_later(after_s, self._send)

    def _send(self) -> None:
        leg = self._leg
        if leg.closed or leg.is_dead or self._settings is None:
            return
        idle_s, interval_s, count = self._settings
        if (silent_s := leg.loop.now_s() - self._heard_at_s) < idle_s:
            self._wait(idle_s - silent_s)
        elif self._unanswered == count:
            leg.take_rst(errno.ETIMEDOUT)
        elif leg.other.take_probe() and not leg.hears_nothing:
            self.heard()
            self._wait(idle_s)
        else:
            self._unanswered += 1
            self._wait(interval_s)
