"""Two traces of one ssh session that VMware Fusion 11 killed, May 2019, as data.

`fusion_guest` was taken inside the guest, `fusion_host` on the host's Wi-Fi: the two sides of the NAT. Sequence and
acknowledgement numbers are relative to each direction's SYN, times to the capture's first frame.
"""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Frame:
    """One frame, as the capture lists it."""

    number: int
    at_s: float
    sender: str
    flags: str
    """As tcpdump writes them: S, F, R, P, and `.` for ACK."""
    seq: int
    len: int = 0
    ack: int | None = None
    tos: int | None = None
    """None where the capture does not say."""
    window: int | None = None
    """None where the capture does not say."""
    frame_len: int | None = None
    """Of the Ethernet frame, with headers and padding."""
    mss: int | None = None
    window_scale: int | None = None
    sack_permitted: bool = False
    timestamps: tuple[int, int] | None = None
    """TSval and TSecr."""


def read_trace(name: str) -> dict[int, Frame]:
    """The trace's frames, by number; those that do not matter here were left out."""
    document = tomllib.loads((Path(__file__).parent / f"{name}.toml").read_text(encoding="utf-8"))
    for entry in document["frame"]:
        if "timestamps" in entry:
            entry["timestamps"] = tuple(entry["timestamps"])
    return {entry["number"]: Frame(**entry) for entry in document["frame"]}


def elapsed_ms(trace: dict[int, Frame], first: int, last: int) -> float:
    """From one frame of a trace to another, in ms."""
    return (trace[last].at_s - trace[first].at_s) * 1000
