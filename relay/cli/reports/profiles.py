"""`relay profiles`: every shipped profile, its names, and whose NAT it is."""

from __future__ import annotations

from relay.cli.reports.paragraphs import heading, indented
from relay.profiles import available


def list_profiles() -> str:
    """Every shipped profile: its names, and whose NAT it is."""
    lines: list[str] = []
    for each in available():
        lines += [", ".join((each.name, *each.aliases)), *indented(heading(each))]
    return "\n".join(lines)


def profiles_as_json() -> list[dict[str, object]]:
    """The same as data."""
    return [
        {"name": each.name, "aliases": list(each.aliases), "title": each.title, "era": each.era} for each in available()
    ]
