"""`--idle-timeout`: flows that carry no byte, either way, for so long are reset.

This is the relay's own limit, not a NAT's quirk; the event log calls it `idle-limit`. It goes by the NAT's clock. It
costs nothing per byte, and no timer per flow: a sweep over all flows compares the bytes that each has carried with
those at the last sweep. With eight sweeps in the time that is allowed, a flow ends after that time or up to a quarter
later.

The limit counts sweeps, not seconds: while the relay itself stands still (a paused container, a laptop that sleeps) no
flow's time passes, for its client may stand still as well.

A slow reader is not idle. Carried bytes may wait in the kernel for long, so before a flow counts as idle the relay asks
the kernel how much is not acknowledged; as long as that changes, bytes move. Once it was nothing, it is not asked
again. Keepalive probes carry no byte, and a frozen side moves none. Handshakes and dials have limits of their own.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import NamedTuple

from relay.causes import Cause
from relay.driver.flow import Flow
from relay.loop.engine import Engine

_SWEEPS = 8
_MIN_SWEEP_S = 0.05
_NOT_ASKED = -1


class _Seen(NamedTuple):
    """A flow, as the last sweep found it."""

    moved_bytes: int
    waiting_bytes: int
    sweeps: int
    """For how many sweeps it has lain idle."""


class IdleLimit:
    """Ends a relay's idle flows."""

    def __init__(self, engine: Engine, flows: Mapping[int, Flow], limit_s: float) -> None:
        self._engine = engine
        self._flows = flows
        self._every_s = max(limit_s / _SWEEPS, _MIN_SWEEP_S)
        self._sweeps = math.ceil(limit_s / self._every_s)
        self._seen: dict[int, _Seen] = {}

    def start(self) -> None:
        """Sweep, from now on and for as long as the engine runs."""
        self._engine.nat.call_later(self._every_s, self._sweep)

    def _sweep(self) -> None:
        self.start()
        before, self._seen = self._seen, {}
        for number, flow in list(self._flows.items()):
            moved_bytes = flow.moved_bytes
            if moved_bytes is None:
                continue
            seen = _look_again(flow, moved_bytes, before.get(number))
            if seen.sweeps < self._sweeps:
                self._seen[number] = seen
            else:
                flow.give_up(Cause.IDLE_LIMIT)


def _look_again(flow: Flow, moved_bytes: int, before: _Seen | None) -> _Seen:
    if before is None or before.moved_bytes != moved_bytes:
        return _Seen(moved_bytes, _NOT_ASKED, 0)
    waiting_bytes = before.waiting_bytes and flow.waiting_bytes
    rests = before.waiting_bytes in (_NOT_ASKED, waiting_bytes)
    return _Seen(moved_bytes, waiting_bytes, before.sweeps + 1 if rests else 0)
