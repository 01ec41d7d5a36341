"""A fault: what one direction of some flows is to suffer on purpose, while a command has it set.

Fault(side=Side.INTERNAL, shape=Shape(delay_s=0.1))            what goes to apps arrives 0.1 s later
Fault(side=Side.INTERNAL, end="rst", end_after_s=5.0)          both sides get RST after 5 s
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, TypeAlias

from relay.events import Side
from relay.shape import PLAIN, Shape, differences

FaultEnd: TypeAlias = Literal["fin", "rst"]


def recorded_as(name: str, *, of_forward: bool = False) -> str:
    """What is the cause, in records, where it is the fault of this name: no behaviour's name has a space."""
    return f"forward's fault {name}" if of_forward else f"fault {name}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """What a flow suffers; times are seconds on the NAT's clock, from when the fault takes hold of the flow."""

    side: Side
    """Toward which side the shape holds."""
    shape: Shape = PLAIN
    """How what goes there is sent; a limit counts from when the fault takes hold."""
    share: float = 1.0
    """Which part of the flows suffers it, from 0 to 1: each draws once, from the relay's seed."""
    end: FaultEnd = "fin"
    """What both sides get where the fault ends the flow."""
    end_after_s: float | None = None
    """After how long it does; None: not by time."""
    end_at_limit: bool = False
    """Whether it does once the shape's limit is reached."""
    end_when_lifted: bool = False
    """Whether it does when the fault is lifted."""

    @property
    def effects(self) -> list[str]:
        """What it does, as NAME=VALUE of all that is not as without a fault."""
        return [
            *self.shape.effects,
            *differences(self, Fault(side=self.side, shape=self.shape, end=self.end)),
        ] + ([f"end={self.end}"] if self.ends_flows else [])

    @property
    def ends_flows(self) -> bool:
        """Whether it ends flows at all."""
        return self.end_after_s is not None or self.end_at_limit or self.end_when_lifted
