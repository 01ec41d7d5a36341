"""What every toxic of a proxy has."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class NamedToxic:
    """A toxic of one proxy, by its name there."""

    name: str
    type: str
    stream: str
    toxicity: float
    attributes: Mapping[str, Any]

    def as_data(self) -> dict[str, Any]:
        """As clients read it."""
        return {
            "attributes": dict(self.attributes),
            "name": self.name,
            "type": self.type,
            "stream": self.stream,
            "toxicity": self.toxicity,
        }
