"""A fault: what one direction of some flows is to suffer on purpose, while a command has it set.

Fault(side="app", shape=Shape(delay_s=0.1))            what goes to apps arrives 0.1 s later
Fault(side="app", end="rst", end_after_s=5.0)          both sides get RST after 5 s
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import Literal, TypeAlias

from relay.events import Side, SideName
from relay.shape import PLAIN, Shape, differences

FaultEnd: TypeAlias = Literal["fin", "rst"]


def recorded_as(name: str, *, of_forward: bool = False) -> str:
    """What is the cause, in records, where it is the fault of this name: no behaviour's name has a space."""
    return f"forward's fault {name}" if of_forward else f"fault {name}"


@dataclass(frozen=True, slots=True, kw_only=True, init=False)
class Fault:
    """What a flow suffers; times are seconds on the NAT's clock, from when the fault takes hold of the flow.

    The side may be given by its name, in either vocabulary: `Fault(side="app", ...)`.
    """

    side: Side
    """Toward which side the shape holds."""
    shape: Shape
    """How what goes there is sent; a limit counts from when the fault takes hold."""
    share: float
    """Which part of the flows suffers it, from 0 to 1: each draws once, from the relay's seed."""
    end: FaultEnd
    """What both sides get where the fault ends the flow."""
    end_after_s: float | None
    """After how long it does; None: not by time."""
    end_at_limit: bool
    """Whether it does once the shape's limit is reached."""
    end_when_lifted: bool
    """Whether it does when the fault is lifted."""

    def __init__(
        self,
        *,
        side: Side | SideName,
        shape: Shape = PLAIN,
        share: float = 1.0,
        end: FaultEnd = "fin",
        end_after_s: float | None = None,
        end_at_limit: bool = False,
        end_when_lifted: bool = False,
    ) -> None:
        assign = partial(object.__setattr__, self)
        assign("side", Side.named(side, where="fault"))
        assign("shape", shape)
        assign("share", share)
        assign("end", end)
        assign("end_after_s", end_after_s)
        assign("end_at_limit", end_at_limit)
        assign("end_when_lifted", end_when_lifted)

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
