"""Which of a guest's ends are mapped to a socket of the host, and since when each is idle.

    used, new     Open, and Close of the one that was idle longest where there are too many
    idle          Close, by a sweep: it comes once in `idle_s`, so a mapping ends after `idle_s` to twice as long

What is done with a socket is up to the caller: the steps say what has to be.
"""

from __future__ import annotations

from typing import NamedTuple


class End(NamedTuple):
    """A guest's end: an address, and a UDP port or an ICMP echo's identifier."""

    address: int
    number: int


class Open(NamedTuple):
    """Open a socket for this end."""

    end: End


class Close(NamedTuple):
    """Close the end's socket: what comes for it from now on is dropped."""

    end: End


class Mappings:
    """The ends that are mapped. Times are seconds on the NAT's clock."""

    def __init__(self, idle_s: float, limit: int) -> None:
        """Never end one for being idle if `idle_s` is 0; have `limit` of them at most."""
        self._idle_s = idle_s
        self._limit = limit
        self._used_at_s: dict[End, float] = {}  # the one that was idle longest first
        self.next_sweep_s: float | None = None
        """When `sweep` is to be called; None if there is nothing to sweep."""

    def __len__(self) -> int:
        return len(self._used_at_s)

    def use(self, end: End, now_s: float) -> list[Open | Close]:
        """The guest uses an end; returns what has to be done first."""
        if self.touch(end, now_s):
            return []
        steps: list[Open | Close] = []
        if len(self._used_at_s) >= self._limit:
            oldest = next(iter(self._used_at_s))
            del self._used_at_s[oldest]
            steps.append(Close(oldest))
        self._used_at_s[end] = now_s
        if self.next_sweep_s is None and self._idle_s:
            self.next_sweep_s = now_s + self._idle_s
        return [*steps, Open(end)]

    def touch(self, end: End, now_s: float) -> bool:
        """An end is used, if it is mapped; returns whether it is."""
        if self._used_at_s.pop(end, None) is None:
            return False
        self._used_at_s[end] = now_s
        return True

    def forget(self, end: End) -> None:
        """An end has no socket after all."""
        self._used_at_s.pop(end, None)

    def sweep(self, now_s: float) -> list[Close]:
        """End what is idle for long enough."""
        idle = []
        for end, used_at_s in self._used_at_s.items():
            if used_at_s > now_s - self._idle_s:
                break
            idle.append(end)
        for end in idle:
            del self._used_at_s[end]
        self.next_sweep_s = now_s + self._idle_s if self._used_at_s else None
        return [Close(end) for end in idle]
