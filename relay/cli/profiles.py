"""`relay profiles`: every shipped profile, its names, and whose NAT it is."""

from __future__ import annotations

from relay.cli.paragraphs import heading, indented
from relay.cli.terminal import tell
from relay.profiles import available


def profiles() -> None:
    """List the profiles."""
    tell(_listed())


def _listed() -> str:
    """Every shipped profile: its names, and whose NAT it is."""
    lines: list[str] = []
    for each in available():
        lines += [", ".join((each.name, *each.aliases)), *indented(heading(each))]
    return "\n".join(lines)
