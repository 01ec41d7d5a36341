"""Findings beside a profile, or beside those of another run: where they agree, and where they do not."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from relay.behaviours import installed_behaviours
from relay.probe.findings import Finding, Findings
from relay.profiles import Profile
from relay.settings import defaults_of

_ABSENT = "-"
_NEAR = 0.1
"""Two times count as the same that are as near as this share of the longer."""


@dataclass(frozen=True, slots=True)
class Row:
    """One setting that was measured."""

    setting: str
    """`BEHAVIOUR.SETTING`."""
    measured: Any
    profile: Any
    """What the profile has; `-` where it has no such behaviour."""
    agrees: bool


def compare(findings: Findings, profile: Profile) -> list[Row]:
    """Every setting that was found, beside the profile's."""
    theirs = {quirk.name: quirk.settings for quirk in profile.quirks}
    rows = []
    for (behaviour, setting), finding in findings.by_setting.items():
        if finding.value is None:
            continue
        expected = _expected(theirs.get(behaviour), setting, behaviour)
        rows.append(Row(f"{behaviour}.{setting}", finding.value, expected, _agrees(finding, expected)))
    return rows


def beyond(findings: Findings, baseline: Profile) -> Findings:
    """Those findings that a profile measured nearer to the server does not have as well: what is this NAT's own."""
    own = Findings(notes=list(findings.notes), fits=findings.fits)
    same = {row.setting for row in compare(findings, baseline) if row.agrees}
    for (behaviour, setting), finding in findings.by_setting.items():
        if f"{behaviour}.{setting}" not in same:
            own.found(finding)
    if same:
        own.note(f"as in {baseline.name}, and so not this NAT's: {', '.join(sorted(same))}")
    return own


def _expected(settings: Mapping[str, object] | None, setting: str, behaviour: str) -> object:
    if setting == "enabled":
        return settings is not None
    if settings is None:
        return _ABSENT
    kind = installed_behaviours().get(behaviour)
    defaults = defaults_of(kind) if kind is not None else {}
    return settings.get(setting, defaults.get(setting, _ABSENT))


def _agrees(finding: Finding, expected: object) -> bool:
    value = finding.value
    if isinstance(value, int | float) and isinstance(expected, int | float) and not isinstance(value, bool):
        if finding.setting == "mask":
            return value == expected
        return abs(value - expected) <= _NEAR * max(abs(value), abs(expected))
    return bool(value == expected)
