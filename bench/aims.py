"""What the relay is meant to reach, and whether it does: on each backend, with `vmware-fusion`.

Most aims are ratios to a peer, from the same rounds. An aim whose peer or quantity was not measured is neither met nor
missed; the table says so by a dash.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import product

from bench.results import Results
from bench.table import number, rows

_PROFILE = "vmware-fusion"
BACKENDS = ("asyncio", "uvloop", "trio")


@dataclass(frozen=True)
class Aim:
    """A figure's bound: absolute, or times a peer's."""

    quantity: str
    """Its name; `idle-most` is the one with the most idle flows."""
    figure: str
    title: str
    bound: float
    beside: str | None = None
    at_most: bool = False
    unit: str = ""

    @property
    def text(self) -> str:
        """As the table tells it."""
        sign = "<=" if self.at_most else ">="
        return f"{sign} {self.bound:g} x {self.beside}" if self.beside else f"{sign} {self.bound:g} {self.unit}"

    def reached(self, results: Results, through: str) -> float | None:
        """The figure, or its ratio; None where something was not measured."""
        if self.beside:
            return results.ratio(self.quantity, self.figure, through, self.beside)
        return results.median(self.quantity, self.figure, through)

    def met_by(self, reached: float) -> bool:
        """Whether that is enough."""
        return reached <= self.bound if self.at_most else reached >= self.bound


def aims(most_idle: int) -> list[Aim]:
    """All of them. `most_idle` is the largest number of idle flows that is measured."""
    listed = []
    for direction, (flows, count, bound) in product(("up", "down"), ((1, "1 flow", 1.05), (8, "8 flows", 1))):
        quantity, title = f"bulk-{direction}-{flows}", f"bulk {direction}, {count}"
        listed += [
            Aim(quantity, "gib_per_s", title, bound, "HAProxy"),
            Aim(quantity, "gib_per_s", title, 0.6, "direct"),
            Aim(quantity, "gib_per_s", title, 2, "dante"),
            Aim(quantity, "cpu_s_per_gib", f"{title}: CPU per GiB", 1.2, "HAProxy", at_most=True),
        ]
    idle = f"idle-{most_idle}"
    return [
        *listed,
        Aim("socks5-64", "per_s", "SOCKS5 connects/s, 64 at a time", 1.2, "microsocks"),
        Aim("socks5-64", "per_s", "SOCKS5 connects/s, 64 at a time", 2.5, "dante"),
        Aim("forward-64", "per_s", "forward connects/s, 64 at a time", 0.85, "HAProxy"),
        Aim("socks5-1", "per_s", "SOCKS5 connects/s, 1 at a time", 1.1, "microsocks"),
        Aim("http-16", "per_s", "plain HTTP/1.1, 16 kept connections", 1.1, "proxy.py"),
        Aim("http10-16", "per_s", "plain HTTP/1.0, 16 kept connections", 1.1, "proxy.py"),
        Aim("http-each-16", "per_s", "plain HTTP, a connection for each request", 1.5, "proxy.py"),
        Aim("http-1", "p50_us", "plain HTTP/1.1, 1 kept connection: p50", 1, "proxy.py", at_most=True),
        Aim("ping-pong", "p50_us", "ping-pong p50", 1.05, "HAProxy", at_most=True),
        Aim("ping-pong", "p99_us", "ping-pong p99", 1.05, "HAProxy", at_most=True),
        Aim(idle, "kib_per_flow", f"memory at {most_idle} idle flows", 3, at_most=True, unit="KiB/flow"),
        Aim(idle, "cpu_percent", f"CPU at {most_idle} idle flows", 5, at_most=True, unit="% of a core"),
    ]


def aims_table(most_idle: int, results: Results) -> Iterator[str]:
    """Which are met, and what one more worker gives, and how a forward does one at a time: told without an aim."""
    table: list[Sequence[str]] = [("quantity", "aim", "reached " + BACKENDS[0], *BACKENDS[1:], "met")]
    for aim in aims(most_idle):
        reached = [aim.reached(results, f"{_PROFILE}, {backend}") for backend in BACKENDS]
        table.append((aim.title, aim.text, *_cells(reached), _verdict(aim, reached)))
    told = [results.ratio("forward-1", "per_s", f"{_PROFILE}, {backend}", "HAProxy") for backend in BACKENDS]
    table.append(("forward connects/s, 1 at a time", "(x HAProxy)", *_cells(told), "-"))
    one = f"{_PROFILE}, {BACKENDS[0]}"
    for quantity, title in (("forward-64", "forward"), ("socks5-64", "SOCKS5")):
        gain = [results.ratio(quantity, "per_s", f"{one}, 2 workers", one), None, None]
        table.append((f"{title} connects/s, 64 at a time, 1 -> 2 workers", "(x 1 worker)", *_cells(gain), "-"))
    yield "### Aims"
    yield ""
    yield from rows(table)


def _verdict(aim: Aim, reached: Sequence[float | None]) -> str:
    """Over all backends that were measured; those that fall short are named."""
    known = [(backend, value) for backend, value in zip(BACKENDS, reached, strict=True) if value is not None]
    short = [backend for backend, value in known if not aim.met_by(value)]
    if not known:
        return "-"
    return "yes" if not short else f"no: {', '.join(short)}"


def _cells(values: Sequence[float | None]) -> list[str]:
    return [number(value) for value in values]
