"""Has idle mappings closed in time, by the NAT's clock."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from relay.loop.engine import Engine
from relay.loop.timers import Timer
from relay.wire.mappings import Close, End


class Swept(Protocol):
    """What has the mappings."""

    @property
    def next_deadline_s(self) -> float | None: ...

    def on_deadline(self, now_s: float) -> list[Close]: ...


class Sweep:
    """Calls `close` with the end of each mapping that was idle for long enough."""

    def __init__(self, engine: Engine, nat: Swept, close: Callable[[End], None]) -> None:
        self._engine = engine
        self._nat = nat
        self._close = close
        self._timer: Timer | None = None

    def arm(self) -> None:
        """There may be a deadline now."""
        if self._timer is None and (due_s := self._nat.next_deadline_s) is not None:
            nat = self._engine.nat
            self._timer = nat.call_later(due_s - nat.now_s(), self._run)

    def stop(self) -> None:
        """Close nothing any more."""
        if self._timer is not None:
            self._timer.cancel()

    def _run(self) -> None:
        self._timer = None
        for step in self._nat.on_deadline(self._engine.nat.now_s()):
            self._close(step.end)
        self.arm()
