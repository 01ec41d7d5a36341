"""Keepalive probes toward the guest: off unless asked for (RFC 9293 section 3.8.4)."""

from __future__ import annotations

import math


class Keepalive:
    """When to probe a silent peer, and when it is dead. Times are in seconds."""

    __slots__ = ("_count", "_idle_s", "_interval_s", "due_s", "heard_s", "unanswered")

    def __init__(self, heard_s: float) -> None:
        self.heard_s = heard_s
        """When the peer was heard last."""
        self.unanswered = 0
        """The probes sent since then."""
        self.due_s = math.inf
        self._idle_s = self._interval_s = math.inf
        self._count = 0

    def start(self, idle_s: float, interval_s: float, count: int, now_s: float) -> None:
        """Probe after a silence of `idle_s`, then every `interval_s`; `count` of them in a row make the peer dead."""
        self._idle_s, self._interval_s, self._count = idle_s, interval_s, count
        self.unanswered = 0
        self.due_s = max(self.heard_s + idle_s, now_s)

    def stop(self) -> None:
        """Send no more."""
        self.due_s = math.inf

    def is_dead(self) -> bool:
        """Whether the last probe allowed is unanswered; asked when one more is due."""
        return self.unanswered >= self._count

    def is_silent(self, now_s: float) -> bool:
        """Whether a probe is due now; says when to ask again."""
        silent = self.unanswered > 0 or self.heard_s + self._idle_s <= now_s
        self.due_s = now_s + self._interval_s if silent else self.heard_s + self._idle_s
        return silent
