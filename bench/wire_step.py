"""What one step of our own TCP costs: a segment is taken in, its text read, and the ACK built."""

from __future__ import annotations

import time

from relay.profiles import load_profile
from relay.wire.segment import ACK, SYN, Segment, build_segment
from relay.wire.sequence import MASK
from relay.wire.tcp import Tcp

_SEGMENTS = 20_000
_PRECEDENCE = 0xE0
_TEXT = bytes(1460)


def step_us(profile: str) -> float:
    """Microseconds a segment, with the stack of this profile and what its behaviours want to see."""
    loaded = load_profile(profile)
    tcp = Tcp.answering(loaded.stack.build(), Segment(0, 0, SYN, 64_240, mss=1460), 0, 0.0)
    tcp.grant(0.0)
    tcp.on_segment(Segment(1, 1, ACK, 64_240), 0.0)
    if any(quirk.name == "tos-reset" for quirk in loaded.quirks):
        tcp.watch_tos(_PRECEDENCE)
    tcp.take_output()
    buffer, at = memoryview(bytearray(65_536)), 1
    began_s = time.perf_counter()
    for _ in range(_SEGMENTS):
        tcp.on_segment(Segment(at, 1, ACK, 64_240, _TEXT), 0.0)
        tcp.read_into(buffer)
        for segment in tcp.take_output():
            build_segment(80, 40_000, segment)
        at = at + len(_TEXT) & MASK
    return 1e6 * (time.perf_counter() - began_s) / _SEGMENTS
