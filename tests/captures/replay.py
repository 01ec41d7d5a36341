"""What our NAT sends in a replay, held against what VMware's sent: each frame, field by field."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import zip_longest
from typing import Final

from captures.trace import Frame
from relay.wire.segment import ACK, CWR, ECE, FIN, PSH, RST, SYN, URG, Segment
from relay.wire.sequence import MASK

TIME_TOLERANCE_S: Final = 0.02
_LETTERS: Final = ((SYN, "S"), (FIN, "F"), (RST, "R"), (PSH, "P"), (URG, "U"), (ACK, "."), (ECE, "E"), (CWR, "W"))
_NUMBERS: Final = {letter: flag for flag, letter in _LETTERS}
_UNKNOWN_FLAGS: Final = PSH  # the listings do not print it
_FIELDS: Final = ("flags", "seq", "ack", "window", "len", "mss", "window_scale", "sack_permitted", "timestamps")


@dataclass(frozen=True)
class Sent:
    """A segment that our NAT sent, when, in the trace's time."""

    at_s: float
    segment: Segment


def differences(frames: Iterable[Frame], sent: Sequence[Sent], *, nat_isn: int, guest_isn: int) -> list[str]:
    """Every field in which a frame of the NAT's differs, as `frame 5: window is 0, was 64240`."""
    expected = [frame for frame in frames if frame.sender == "nat"]
    found = []
    for frame, ours in zip_longest(expected, sent):
        if frame is None:
            found.append(f"after frame {expected[-1].number}: {_flags(ours.segment)} is one more")
        elif ours is None:
            found.append(f"frame {frame.number}: not sent")
        else:
            found += _compared(frame, ours, nat_isn, guest_isn)
    return found


def segment_of(frame: Frame, *, own_isn: int, other_isn: int, payload: bytes) -> Segment:
    """A frame as a segment, its numbers no longer relative to the SYNs."""
    return Segment(
        own_isn + frame.seq & MASK,
        0 if frame.ack is None else other_isn + frame.ack & MASK,
        sum(_NUMBERS[letter] for letter in frame.flags),
        64_240 if frame.window is None else frame.window,
        payload,
        tos=frame.tos or 0,
        mss=frame.mss,
        window_scale=frame.window_scale,
        sack_permitted=frame.sack_permitted,
        timestamps=frame.timestamps,
    )


def _compared(frame: Frame, ours: Sent, nat_isn: int, guest_isn: int) -> list[str]:
    segment = ours.segment
    values: Mapping[str, object] = {
        "flags": _flags(segment),
        "seq": segment.seq - nat_isn & MASK,
        "ack": segment.ack - guest_isn & MASK if segment.flags & ACK else None,
        "window": segment.window if frame.window is not None else None,
        "len": len(segment.payload),
        "mss": segment.mss,
        "window_scale": segment.window_scale,
        "sack_permitted": segment.sack_permitted,
        "timestamps": segment.timestamps,
    }
    found = [
        f"frame {frame.number}: {name} is {values[name]}, was {getattr(frame, name)}"
        for name in _FIELDS
        if values[name] != getattr(frame, name)
    ]
    if abs(ours.at_s - frame.at_s) > TIME_TOLERANCE_S:
        found.append(f"frame {frame.number}: at_s is {ours.at_s:.6f}, was {frame.at_s:.6f}")
    return found


def _flags(segment: Segment) -> str:
    return "".join(letter for flag, letter in _LETTERS if segment.flags & flag & ~_UNKNOWN_FLAGS)
