"""Moments of a flow, and what lies between them: data, times without a record, and the same over and over again.

Bytes are counted at each record, so it is known between which two records they passed and not when. A time in which
nothing is recorded is a step of its own from `FOLD_S` on. What comes over and over again is folded likewise.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from relay.ladder.step import Kind, Line, Step

FOLD_S = 0.1
"""A time without a record is reported from here on."""

_REPEATS = 4  # of the same, above which only the first two and the last are shown


@dataclass(slots=True)
class Moment:
    """What happened at one time, and what had been carried by then, if that is known."""

    at_s: float
    steps: list[Step]
    carried: tuple[int, int] | None = None
    is_fold: bool = False
    """Whether it stands for many that were alike."""

    @property
    def signature(self) -> tuple[object, ...]:
        return tuple((each.kind, each.start, each.end, each.label, each.because) for each in self.steps)


def steps_between(moments: Iterable[Moment], initiator: Line) -> list[Step]:
    """The steps of these moments in the order of time, with those between them."""
    ordered = sorted(moments, key=lambda moment: moment.at_s)  # it is stable
    return list(_with_gaps(_without_repeats(ordered), initiator))


def _with_gaps(moments: Iterable[Moment], initiator: Line) -> Iterator[Step]:
    at_s, carried = 0.0, (0, 0)
    for moment in moments:
        data: list[Step] = []
        if moment.carried is not None:
            data = list(_data(carried, moment.carried, initiator))
            carried = max(carried[0], moment.carried[0]), max(carried[1], moment.carried[1])
        if (gap_s := moment.at_s - at_s) >= FOLD_S and not moment.is_fold:
            yield Step.gap(f"{_seconds(gap_s)}, in which" if data else f"nothing for {_seconds(gap_s)}")
        yield from data
        yield from moment.steps
        at_s = max(at_s, moment.at_s)


def _data(before: tuple[int, int], now: tuple[int, int], initiator: Line) -> Iterator[Step]:
    ways = [(Line.APP, Line.SERVER), (Line.SERVER, Line.APP)]
    for start, end in ways if initiator is Line.APP else ways[::-1]:
        count, so_far = now[start is Line.SERVER] - before[start is Line.SERVER], now[start is Line.SERVER]
        if count > 0:
            total = f" ({so_far:,} B so far)" if so_far > count else ""
            yield Step(Kind.DATA, None, f"{count:,} B{total}", start, end)


def _without_repeats(moments: Sequence[Moment]) -> Iterator[Moment]:
    first = 0
    while first < len(moments):
        last = first
        while last + 1 < len(moments) and _repeats(moments[last], moments[last + 1]):
            last += 1
        if last - first < _REPEATS:
            yield from moments[first : last + 1]
        else:
            yield from moments[first : first + 2]
            told = f"the same {last - first - 2} times more, until {moments[last - 1].at_s:.3f} s"
            yield Moment(moments[last - 1].at_s, [Step.gap(told)], is_fold=True)
            yield moments[last]
        first = last + 1


def _repeats(one: Moment, other: Moment) -> bool:
    return one.carried == other.carried and bool(one.steps) and one.signature == other.signature


def _seconds(seconds: float) -> str:
    return f"{seconds:.3f} s" if seconds < 10 else f"{seconds:,.1f} s"
