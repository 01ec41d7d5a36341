"""Findings as a profile: TOML that `relay explain` and `relay serve --profile` take.

Only what was measured gets a table. A behaviour is `observed` if every setting of it that was found is sure, else
`assumed`, with the numbers in its evidence. Where observations contradict each other there is a comment.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping

from relay.behaviours import installed_behaviours
from relay.probe.findings import Finding, Findings
from relay.settings import settings_of


def profile_as_toml(findings: Findings, *, title: str, date: str, source: str, versions: str) -> str:
    """The profile's text. `source` is this run, as its evidence names it; `date` becomes the era."""
    lines = [
        f"title = {_text(title)}",
        f"era = {_text(date)}",
        'extends = "transparent"',
        "# What has no table below was not measured, and is the base's.",
    ]
    for behaviour, settings in findings.settings().items():
        lines += ["", *_table(behaviour, settings, source, versions)]
    if findings.notes:
        lines += ["", *(f"# {_comment(note)}" for note in findings.notes)]
    return "\n".join(lines) + "\n"


def _table(behaviour: str, settings: Mapping[str, Finding], source: str, versions: str) -> Iterator[str]:
    contradicted = {name: finding for name, finding in settings.items() if finding.value is None}
    found = {name: finding for name, finding in settings.items() if finding.value is not None}
    for name, finding in contradicted.items():
        yield f"# {behaviour}.{name}: contradictory: {_comment(finding.says)}"
    if not found:
        return
    is_sure = all(finding.is_sure for finding in found.values())
    yield f"[{behaviour}]"
    for name, finding in found.items():
        yield f"{name} = {_value(behaviour, name, finding.value)}"
    yield f'status = "{"observed" if is_sure else "assumed"}"'
    for name, finding in found.items():
        yield f"[[{behaviour}.evidence]]"
        yield f"source = {_text(source)}"
        yield f"says = {_text(f'{name}: {finding.says}.')}"
        yield f"versions = {_text(versions)}"


def _value(behaviour: str, name: str, value: object) -> str:
    if name == "mask":
        return f"0x{value:02X}"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        return _text(value)
    field = settings_of(installed_behaviours()[behaviour]).get(name)
    if field is not None and type(field.default) is int:
        return str(round(float(str(value))))
    return f"{value:.6g}" if isinstance(value, float) else str(value)


def _text(text: str) -> str:
    return json.dumps("".join(c if c.isprintable() else "?" for c in text), ensure_ascii=False)


def _comment(text: str) -> str:
    return "".join(c if c.isprintable() else "?" for c in text)
