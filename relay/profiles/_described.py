"""A behaviour's settings as people and programs read about them: `relay explain`."""

from __future__ import annotations

from dataclasses import dataclass

from relay.behaviours import Behaviour, When
from relay.settings import accepted, settings_of
from relay.stack import Stack

_UNITS = {"_ms": "ms", "_s": "s", "_bytes": "bytes"}
"""By the suffix of the setting's name."""


@dataclass(frozen=True)
class Setting:
    """One setting of a behaviour."""

    name: str
    meaning: str
    unit: str
    """`s`, `ms`, `bytes`, ...; empty for what has none."""
    default: object
    accepted: str
    """What values it takes, in words."""
    low: float | None
    high: float | None
    choices: tuple[str, ...]
    """The only values; empty where any of its type, from `low` to `high`, will do."""

    def in_words(self) -> str:
        """What it means, what it takes, in which unit, and its default."""
        unit = f", in {self.unit}" if self.unit and f"in {self.unit}" not in self.meaning else ""
        return f"{self.meaning} ({self.accepted}{unit}; default: {self.shown(self.default)})"

    def shown(self, value: object) -> str:
        """A value of it, as a profile's file or `--set` has it."""
        match value:
            case bool():
                return str(value).lower()
            case int() if self.name == "mask":
                return f"{value:#04x}"
            case float():
                return f"{value:.15g}"
            case _:
                return str(value)


def describe_settings(kind: type[Behaviour] | type[Stack] | type[When]) -> list[Setting]:
    """Every setting of a behaviour or of the stack, or every condition, in the order in which it declares them."""
    return [
        Setting(
            name=name,
            meaning=field.metadata["doc"],
            unit=field.metadata["unit"] or next((unit for suffix, unit in _UNITS.items() if name.endswith(suffix)), ""),
            default=field.default,
            accepted=accepted(field),
            low=field.metadata["low"],
            high=field.metadata["high"],
            choices=field.metadata["choices"],
        )
        for name, field in settings_of(kind).items()
    ]
