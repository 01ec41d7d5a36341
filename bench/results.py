"""What was measured: by quantity, figure and way, one value a round.

A ratio is the median of the rounds' own ratios: both sides of each were measured within the same minute, so a machine
that slows down in the middle of a run slows down both.
"""

from __future__ import annotations

import statistics
from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass
class Results:
    """Fills up while the run goes on."""

    values: dict[tuple[str, str, str], dict[int, float]] = field(default_factory=dict)
    """By quantity, figure and way: by round, the value."""
    failures: dict[tuple[str, str], str] = field(default_factory=dict)
    """By quantity and way: why there is no figure."""

    def add(self, number: int, quantity: str, through: str, figures: Mapping[str, float]) -> None:
        """Note one round's figures."""
        for figure, value in figures.items():
            self.values.setdefault((quantity, figure, through), {})[number] = value

    def of(self, quantity: str, figure: str, through: str) -> list[float]:
        """All rounds' values; none if it was not measured, or failed."""
        return list(self.values.get((quantity, figure, through), {}).values())

    def median(self, quantity: str, figure: str, through: str) -> float | None:
        """None if there is no value."""
        values = self.of(quantity, figure, through)
        return statistics.median(values) if values else None

    def ratio(self, quantity: str, figure: str, through: str, beside: str) -> float | None:
        """The median of the rounds' ratios; None if they share no round, or there is nothing to divide by."""
        own = self.values.get((quantity, figure, through), {})
        other = self.values.get((quantity, figure, beside), {})
        ratios = [own[number] / other[number] for number in own if other.get(number)]
        return statistics.median(ratios) if ratios else None

    def as_json(self) -> dict[str, object]:
        """Everything, for a file."""
        return {
            "values": [
                {"quantity": quantity, "figure": figure, "through": through, "rounds": list(rounds.values())}
                for (quantity, figure, through), rounds in self.values.items()
            ],
            "failures": [
                {"quantity": quantity, "through": through, "because": because}
                for (quantity, through), because in self.failures.items()
            ],
        }
