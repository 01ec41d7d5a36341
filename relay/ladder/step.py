"""A step of a ladder: one row between the three lines."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntEnum, StrEnum


class Line(IntEnum):
    """The lines of a ladder, from left to right."""

    APP = 0
    NAT = 1
    SERVER = 2


class Kind(StrEnum):
    """What a step is about; it chooses the colour."""

    OPEN = "open"
    DATA = "data"
    TOS = "tos"
    PROBE = "probe"
    FIN = "fin"
    RST = "rst"
    SILENCE = "silence"
    LOSS = "loss"
    NOTE = "note"
    FAULT = "fault"
    GAP = "gap"
    END = "end"


@dataclass(frozen=True, slots=True)
class Step:
    """One row: an arrow from one line to another, or, without them, a remark."""

    kind: Kind
    at_s: float | None
    """On the NAT's clock, since the flow's first record; None where that is not known."""
    label: str
    start: Line | None = None
    end: Line | None = None
    because: str = ""
    """The behaviour, or the cause, that had this done; empty for what was seen."""
    lost: bool = False
    """Whether it never arrives, or gets no answer."""

    @classmethod
    def gap(cls, label: str) -> Step:
        """What stands for steps, or for a time, that is left out."""
        return cls(Kind.GAP, None, label)

    @property
    def text(self) -> str:
        """The label, with who had it done."""
        return f"{self.label}, by {self.because}" if self.because else self.label


def shortened(steps: Sequence[Step], most: int) -> list[Step]:
    """The steps, or of more than `most` the first and the last, with a step between that says how many are missing."""
    left_out = len(steps) - most
    if left_out <= 0:
        return list(steps)
    return [*steps[: most // 2], Step.gap(f"{left_out} steps are left out here"), *steps[most // 2 + left_out :]]
