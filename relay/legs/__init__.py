"""Our half of one side of a flow, as the modules above see it: a kernel socket, or an object that behaves like one."""

from relay.legs._api import BROKEN, WOULD_BLOCK, Leg, LegOwner, Loop, PeerSocket, Process, Timer, Witness

__all__ = ["BROKEN", "WOULD_BLOCK", "Leg", "LegOwner", "Loop", "PeerSocket", "Process", "Timer", "Witness"]
