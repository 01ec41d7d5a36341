"""This relay beside an earlier one, from the same rounds: how much of each figure is left.

Every ratio is turned so that more is better: 0.97 is three hundredths fewer connections a second, or as much more CPU
time for each. A figure of zero on either side (CPU time of less than a tick) has none.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from bench.quantities import Quantity
from bench.relays import BEFORE
from bench.results import Results
from bench.table import number, rows

_MORE_IS_BETTER = frozenset({"per_s", "gib_per_s", "kept_percent"})


def before_table(quantities: Sequence[Quantity], throughs: Sequence[str], results: Results) -> Iterator[str]:
    """A row for each figure, a column for each relay that was measured beside its earlier self."""
    pairs = [name for name in throughs if name + BEFORE in throughs]
    yield "### This relay and the one before, more is better"
    yield ""
    table: list[Sequence[str]] = [("quantity", "figure", *pairs)]
    for quantity in quantities:
        for figure, title in quantity.figures.items():
            ratios = [_left(quantity.name, figure, name, results) for name in pairs]
            if any(ratio is not None for ratio in ratios):
                table.append((quantity.title, title, *(number(ratio) for ratio in ratios)))
    yield from rows(table)
    yield ""


def _left(quantity: str, figure: str, name: str, results: Results) -> float | None:
    ways = (name, name + BEFORE) if figure in _MORE_IS_BETTER else (name + BEFORE, name)
    return results.ratio(quantity, figure, *ways)
