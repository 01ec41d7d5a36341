"""The half of a flow's side that is ours, as everything above it sees it: a kernel socket, or what behaves like one."""

from relay.legs._api import BROKEN, WOULD_BLOCK, Leg, LegOwner, Loop, Process, Timer, Witness

__all__ = ["BROKEN", "WOULD_BLOCK", "Leg", "LegOwner", "Loop", "Process", "Timer", "Witness"]
