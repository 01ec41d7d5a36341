"""A shape: how what goes one way through a flow is delayed, slowed down and cut up.

    Shape(delay_s=0.1)                        every byte, and the end, arrives 0.1 s later
    Shape(rate_bytes_per_s=10_000)            10 kB/s
    Shape(slice_bytes=100, slice_delay_s=0.02)    at most 100 bytes at a time, 20 ms apart
    Shape(limit_bytes=1000)                   1,000 bytes and no more, until the limit is another
    Shape(stall=True)                         nothing, until the shape is another

Several of them make one: delays add up, and of two limits the smaller holds.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, fields
from typing import TypeVar

ValueT = TypeVar("ValueT")


@dataclass(frozen=True, slots=True)
class Shape:
    """Faults of one direction. Bytes, FIN and RST keep their order. Times are seconds on the NAT's clock."""

    delay_s: float = 0.0
    """How much later everything arrives."""
    jitter_s: float = 0.0
    """Up to so much less or more than `delay_s`, for each piece, by chance; never before what was sent before it."""
    rate_bytes_per_s: float = 0.0
    """How many bytes pass in a second; 0: as fast as they come."""
    slice_bytes: int = 0
    """How many bytes pass at once, at most; 0: as many as come."""
    slice_delay_s: float = 0.0
    """The time between two slices."""
    end_delay_s: float = 0.0
    """How much later than the bytes before it FIN or RST arrives."""
    limit_bytes: int | None = None
    """How many bytes pass in all, since there is a shape. What comes then waits for a greater limit; an end does not,
    and takes its place. None: any number."""
    stall: bool = False
    """Whether nothing passes, neither bytes nor an end."""
    slice_variation_bytes: int = 0
    """Up to so many bytes less or more than `slice_bytes`, for each slice, by chance; at least one byte passes."""

    @property
    def is_plain(self) -> bool:
        """Whether everything passes at once."""
        return self == PLAIN

    @property
    def effects(self) -> list[str]:
        """What it does, as NAME=VALUE."""
        return list(differences(self, PLAIN))

    @classmethod
    def combined(cls, shapes: Iterable[Shape]) -> Shape:
        """What several shapes come to."""
        each = tuple(shapes)
        return cls(
            delay_s=sum(shape.delay_s for shape in each),
            jitter_s=sum(shape.jitter_s for shape in each),
            rate_bytes_per_s=_least(shape.rate_bytes_per_s for shape in each),
            slice_bytes=int(_least(shape.slice_bytes for shape in each)),
            slice_delay_s=sum(shape.slice_delay_s for shape in each),
            end_delay_s=sum(shape.end_delay_s for shape in each),
            limit_bytes=min((shape.limit_bytes for shape in each if shape.limit_bytes is not None), default=None),
            stall=any(shape.stall for shape in each),
            slice_variation_bytes=sum(shape.slice_variation_bytes for shape in each),
        )


PLAIN = Shape()
"""No fault at all."""


def _least(limits: Iterable[float]) -> float:
    """The smallest of those that are limits: 0 is none."""
    return min((limit for limit in limits if limit), default=0)


def differences(value: ValueT, plain: ValueT) -> Iterator[str]:
    """The fields of a dataclass's instance that are not as in another, as NAME=VALUE."""
    for field in fields(value):  # type: ignore[arg-type] # TypeVars are not bound to dataclasses
        if (here := getattr(value, field.name)) != getattr(plain, field.name):
            yield f"{field.name}={str(here).lower() if isinstance(here, bool) else here}"
