"""What `relay probe` prints beside the profile: a comparison as a table, and everything as JSON."""

from __future__ import annotations

from relay.probe import Findings, compare
from relay.profiles import Profile


def comparison(findings: Findings, profile: Profile) -> str:
    """A table of what was measured beside what a profile has, and how often they agree."""
    rows = compare(findings, profile)
    lines = [("setting", "measured", profile.name, "")]
    lines += [(row.setting, _shown(row.measured), _shown(row.profile), "" if row.agrees else "differs") for row in rows]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    table = [" ".join(word.ljust(width) for word, width in zip(line, widths, strict=True)).rstrip() for line in lines]
    agreed = sum(row.agrees for row in rows)
    return "\n".join([*table, "", f"agrees with {profile.name} in {agreed} of {len(rows)}"])


def findings_as_json(findings: Findings, profile: Profile | None, *, finished: bool) -> dict[str, object]:
    """The same as data."""
    compared = {row.setting: row for row in compare(findings, profile)} if profile is not None else {}
    return {
        "finished": finished,
        "findings": [
            {
                "behaviour": each.behaviour,
                "setting": each.setting,
                "value": each.value,
                "status": "observed" if each.is_sure else "assumed" if each.value is not None else "contradictory",
                "says": each.says,
                "agreed": each.agreed,
                "of": each.of,
                **(
                    {"profile": row.profile, "agrees": row.agrees}
                    if (row := compared.get(f"{each.behaviour}.{each.setting}")) is not None
                    else {}
                ),
            }
            for each in findings.by_setting.values()
        ],
        "notes": findings.notes,
    }


def _shown(value: object) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)
