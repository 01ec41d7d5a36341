"""Time. A relay has two clocks.

    the real one   the host's monotonic clock: for limits on what real peers do (handshake, connect, drain)
    the NAT's      real x scale + offset: for behaviours' timers, idle times, and `at_s` of events and records

A program or a test that replaces the functions of the module `time` does not change these: `real_s` and `wall_s` are
those of a copy of that module, which nothing else has. (freezegun replaces a function in `time`, and in each module
that has a name for it.) The engine's timers do not go by the async library's clock either; see `relay.loop.alarm`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib.machinery import BuiltinImporter
from importlib.util import find_spec, module_from_spec
from types import ModuleType


def _own_time() -> ModuleType:
    spec = BuiltinImporter.find_spec("time") or find_spec("time")
    assert spec is not None  # noqa: S101 - it is part of every Python
    assert spec.loader is not None  # noqa: S101
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


_time = _own_time()
real_s: Callable[[], float] = _time.monotonic
"""Now, in seconds on the host's monotonic clock."""
wall_s: Callable[[], float] = _time.time
"""Now, in seconds since the epoch."""


class NatClock:
    """A NAT's clock, in seconds since it was made. It runs `scale` times as fast as the real one, and never back.

    A pickled copy shows the same time as long as neither is changed, in each process of the host.
    """

    __slots__ = ("_now_s", "_offset_s", "_rate", "_scale", "_started_s", "started_at")

    def __init__(self, now_s: Callable[[], float] = real_s) -> None:
        self._now_s = now_s
        self._started_s = now_s()
        self._scale = self._rate = 1.0  # the rate is 0 while the clock stands still
        self._offset_s = -self._started_s
        self.started_at = wall_s()
        """When it was made, on the wall clock."""

    def now_s(self) -> float:
        return self._now_s() * self._rate + self._offset_s

    def read(self) -> tuple[float, float]:
        """The time now, and by how much that is ahead of the real seconds since this was made."""
        real_now_s = self._now_s()
        now_s = real_now_s * self._rate + self._offset_s
        return now_s, now_s - (real_now_s - self._started_s)

    @property
    def scale(self) -> float:
        return self._scale

    @scale.setter
    def scale(self, scale: float) -> None:
        self._scale = scale
        if self._rate:
            self._run_at(scale)

    @property
    def stands_still(self) -> bool:
        """Whether it moves by `move_to` alone."""
        return not self._rate

    def stop(self) -> None:
        """Have it stand still from now on; `scale` remains what its seconds count in other clocks' terms."""
        self._run_at(0.0)

    def move_to(self, at_s: float) -> None:
        """Let it be this late, if it is not later already."""
        self._offset_s = max(self._offset_s, at_s - self._now_s() * self._rate)

    @contextmanager
    def held(self) -> Iterator[None]:
        """Have it stand still within the block, but for `move_to`.

        After the block it shows what it would if it had gone on, and what it was moved by on top of that. So copies
        that are moved alike still agree, however long each was held.
        """
        was_running, began_s = not self.stands_still, self._now_s()
        self._run_at(0.0)
        try:
            yield
        finally:
            if was_running:
                self._rate = self._scale
                self._offset_s -= began_s * self._scale

    def _run_at(self, rate: float) -> None:
        self._offset_s += self._now_s() * (self._rate - rate)
        self._rate = rate

    def __getstate__(self) -> tuple[float, float, float, float, float]:
        return self._started_s, self._scale, self._rate, self._offset_s, self.started_at

    def __setstate__(self, state: tuple[float, float, float, float, float]) -> None:
        self._now_s = real_s
        self._started_s, self._scale, self._rate, self._offset_s, self.started_at = state
