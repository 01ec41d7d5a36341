"""What probes find: settings of behaviours, each with how it is known, and notes on what is no setting."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

ENOUGH = 3
"""So many observations that agree make a finding sure."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One setting, as it was found."""

    behaviour: str
    setting: str
    """`enabled` says whether the NAT has the behaviour at all."""
    value: Any
    """None where the observations contradict each other."""
    says: str
    """What was seen, in a sentence."""
    agreed: int = ENOUGH
    of: int = ENOUGH
    """How many observations agree, of how many."""
    is_doubted: bool = field(default=False, kw_only=True)
    """Whether something happened meanwhile that may have spoilt the observations."""

    @property
    def is_sure(self) -> bool:
        """Whether enough observations agree, and no other does not."""
        return self.value is not None and self.agreed == self.of >= ENOUGH and not self.is_doubted


@dataclass
class Findings:
    """All of them so far. What is found about a setting replaces what was found about it before."""

    by_setting: dict[tuple[str, str], Finding] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    fits: str = ""
    """The shipped profile that alone fits best."""
    saw: Callable[[Mapping[str, Any]], object] = lambda entry: None
    """Takes what was seen and found, as it comes, for the file beside the profile."""

    def found(self, finding: Finding) -> None:
        """Add one, or replace an earlier one about the same setting."""
        self.by_setting[finding.behaviour, finding.setting] = finding
        self.saw({"found": f"{finding.behaviour}.{finding.setting}", "value": finding.value, "says": finding.says})

    def doubt(self, before: Mapping[tuple[str, str], Finding], why: str) -> None:
        """Have what was found since then be unsure, and say why."""
        for key, finding in list(self.by_setting.items()):
            if before.get(key) is not finding:
                self.found(replace(finding, says=f"{finding.says}; {why}", is_doubted=True))

    def forget(self, behaviour: str) -> None:
        """Take back what was found about a behaviour, for it is known better now."""
        for key in [key for key in self.by_setting if key[0] == behaviour]:
            del self.by_setting[key]

    def agree(self, behaviour: str, setting: str, values: Iterable[Any], says: str) -> None:
        """Add what observations come to: what they all say, or that they contradict each other.

        None is an observation that says something else. `says` may name the value as {value}, and how many say so as
        {agreed} and {of}.
        """
        seen = list(values)
        if not seen:
            return
        value = max((each for each in seen if each is not None), key=seen.count, default=None)
        agreed = seen.count(value)
        words = says.format(value=value, agreed=agreed, of=len(seen))
        self.found(Finding(behaviour, setting, value if agreed == len(seen) else None, words, agreed, len(seen)))

    def note(self, text: str) -> None:
        """Add a note, once."""
        if text not in self.notes:
            self.notes.append(text)
            self.saw({"note": text})

    def value(self, behaviour: str, setting: str, default: Any = None) -> Any:
        """What was found about a setting; the default where nothing was, or nothing certain."""
        finding = self.by_setting.get((behaviour, setting))
        return default if finding is None or finding.value is None else finding.value

    def settings(self) -> Mapping[str, dict[str, Finding]]:
        """All findings by behaviour and setting."""
        settings: dict[str, dict[str, Finding]] = {}
        for (behaviour, setting), finding in self.by_setting.items():
            settings.setdefault(behaviour, {})[setting] = finding
        return settings
