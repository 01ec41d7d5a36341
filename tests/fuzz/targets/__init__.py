"""Every target; see `_api` for what one is."""

from fuzz.targets import exchanges, flows, frames, handshakes, kernel, names, records, segments, settings
from fuzz.targets._api import TARGETS, Target

__all__ = [
    "TARGETS",
    "Target",
    "exchanges",
    "flows",
    "frames",
    "handshakes",
    "kernel",
    "names",
    "records",
    "segments",
    "settings",
]
