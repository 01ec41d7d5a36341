"""Results as Markdown: a table for each quantity, a row for each way; and one of how each way bears idle flows."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from bench.ends import VIAS
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
        name: title
        for name, title in quantity.figures.items()
        if any(results.of(quantity.name, name, through) for through in throughs)
    }
    yield f"### {quantity.title}"
    yield ""
    head = ["through"]
    for title in measured.values():
        head += [title, f"x {quantity.beside}"]
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


def growth_table(idle_flows: Sequence[int], throughs: Sequence[str], results: Results) -> Iterator[str]:
    """What each way does beside ever more idle flows. Without any, it is what the quantities of their own say."""
    steps = [f"{count} idle" for count in idle_flows]
    yield "### How each grows with idle flows"
    yield ""
    head = ["through", "KiB/flow: " + steps[0], *steps[1:], "CPU %: " + steps[0], *steps[1:]]
    head += ["connections/s: none idle", *steps, "ping-pong p50 us: none idle", *steps]
    body = []
    for through in throughs:
        alone = next((rate for via in VIAS if (rate := results.median(f"{via}-64", "per_s", through))), None)
        values = [
            *_idle_medians("kib_per_flow", idle_flows, through, results),
            *_idle_medians("cpu_percent", idle_flows, through, results),
            alone,
            *_idle_medians("per_s", idle_flows, through, results),
            results.median("ping-pong", "p50_us", through),
            *_idle_medians("p50_us", idle_flows, through, results),
        ]
        body.append([through, *(number(value) for value in values)])
    yield from rows([head, *body])
    yield ""


def _idle_medians(figure: str, idle_flows: Sequence[int], through: str, results: Results) -> list[float | None]:
    return [results.median(f"idle-{count}", figure, through) for count in idle_flows]
