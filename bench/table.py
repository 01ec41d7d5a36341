"""Results as Markdown: a table for each quantity, a row for each way."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from bench.quantities import Quantity
from bench.results import Results


def number(value: float | None) -> str:
    """Three significant digits, without an exponent; a dash for none."""
    if value is None:
        return "-"
    return f"{value:.0f}" if abs(value) >= 100 else f"{value:#.3g}"


def rows(cells: Iterable[Sequence[str]]) -> Iterator[str]:
    """Markdown lines; the first row is the head."""
    for index, row in enumerate(cells):
        yield f"| {' | '.join(row)} |"
        if index == 0:
            yield f"|{' --- |' * len(row)}"


def quantity_table(quantity: Quantity, throughs: Sequence[str], results: Results) -> Iterator[str]:
    """Medians with their spread, and the ratio to the peer that the quantity names."""
    measured = {
        name: figure
        for name, figure in quantity.figures.items()
        if any(results.of(quantity.name, name, through) for through in throughs)
    }
    yield f"### {quantity.title}"
    yield ""
    head = ["through"]
    for figure in measured.values():
        head += [figure.title, f"x {quantity.beside}"]
    body = []
    for through in throughs:
        row = [through]
        for name in measured:
            values = results.of(quantity.name, name, through)
            spread = f" ({number(min(values))} to {number(max(values))})" if len(values) > 1 else ""
            row.append(number(results.median(quantity.name, name, through)) + spread)
            ratio = results.ratio(quantity.name, name, through, quantity.beside)
            row.append("-" if ratio is None else f"{ratio:.2f}")
        if any(cell != "-" for cell in row[1:]):
            body.append(row)
        elif (quantity.name, through) in results.failures:
            body.append([through, f"failed: {results.failures[quantity.name, through]}", *["-"] * (len(head) - 2)])
    yield from rows([head, *body])
    yield ""
