"""The pages of the profiles, made from their files: the table in docs/profiles.md, and docs/profiles/NAME.md.

`python -m support.profile_reference`, in `tests`, writes them.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

from relay.behaviours import Behaviour
from relay.profiles import COLUMNS, Evidence, Profile, available, columns_of, describe_settings
from relay.stack import Stack
from support.page_parts import Page, row
from support.profile_snippets import snippet

PAGE = Page("profiles.md", "tests/support/profile_reference.py")
FOLDER = Path(__file__).parents[2] / "docs" / "profiles"
_CONTROL = "transparent"


def table() -> str:
    """What the page of all profiles ought to have between its marks."""
    rows = [[f"[`{each.name}`](profiles/{each.name}.md)", *columns_of(each).values()] for each in available()]
    meanings = [f"* {column}: {meaning}" for column, meaning in COLUMNS.items()]
    return "\n".join([*_table(["profile", *COLUMNS], rows), "", *meanings, ""])


def pages() -> dict[str, str]:
    """What each profile's page ought to say, by the file's name."""
    profiles = available()
    [control] = [each for each in profiles if each.name == _CONTROL]
    return {f"{each.name}.md": "\n".join(_page(each, control)) for each in profiles}


def write() -> None:
    """Write all of it, and remove the pages of profiles that are no more."""
    PAGE.write({"table": table()})
    FOLDER.mkdir(exist_ok=True)
    for old in FOLDER.glob("*.md"):
        old.unlink()
    for name, text in pages().items():
        (FOLDER / name).write_text(text, encoding="utf-8")


def _page(profile: Profile, control: Profile) -> Iterator[str]:
    yield f"# {profile.name}"
    yield ""
    yield f"{profile.title}{f', {profile.era}' if profile.era else ''}."
    if profile.aliases:
        yield f"Also called {', '.join(f'`{alias}`' for alias in profile.aliases)}."
    yield ""
    yield from _table([*COLUMNS], [[*columns_of(profile).values()]])
    yield from ("", "[What the columns say](../profiles.md)", "", "## What apps see", "", profile.symptom, "")
    yield from ("## In a test", "", profile.reproduce, "", "```python", snippet(profile), "```", "")
    yield from ("## How to be safe", "", profile.remedy, "", "## Settings and evidence", "")
    own = [quirk for quirk in profile.quirks if profile is control or quirk not in control.quirks]
    for quirk in own:
        summary = (quirk.kind.__doc__ or "").strip().partition("\n")[0]
        yield from _part(quirk.name, f"{quirk.status}. {summary}", quirk.kind, quirk.settings, quirk.evidence)
    for quirk in profile.absent:
        yield from (f"### no {quirk.name}", "", f"{quirk.status.capitalize()}.", "", *_evidence(quirk.evidence), "")
    own_stack = profile is control or profile.stack != control.stack
    if own_stack:
        stack, summary = profile.stack.build(), "The NAT's own TCP/IP toward a guest, in wire mode."
        values = {setting.name: getattr(stack, setting.name) for setting in describe_settings(Stack)}
        yield from _part("stack", f"{profile.stack.status}. {summary}", Stack, values, profile.stack.evidence)
    shared = [quirk.name for quirk in profile.quirks if quirk not in own] + ([] if own_stack else ["stack"])
    if shared:
        names = ", ".join(f"`{name}`" for name in shared)
        yield from (f"As in [`{control.name}`]({control.name}.md): {names}.", "")


def _part(
    name: str,
    heading: str,
    kind: type[Behaviour] | type[Stack],
    values: Mapping[str, object],
    evidence: Iterable[Evidence],
) -> Iterator[str]:
    yield from (f"### {name}", "", heading[0].upper() + heading[1:], "")
    rows = [[f"`{each.name} = {each.shown(values[each.name])}`", each.in_words()] for each in describe_settings(kind)]
    if rows:
        yield from (*_table(["setting", "meaning"], rows), "")
    yield from (*_evidence(evidence), "")


def _evidence(evidence: Iterable[Evidence]) -> Iterator[str]:
    for each in evidence:
        source = re.sub(r"https?://[^\s,)]+", r"<\g<0>>", each.source)  # as a link
        said = each.says.replace("*", "\\*")
        yield f"* {said} ({', '.join(filter(None, (each.versions, source)))})"


def _table(heads: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    return [row(heads), row(["---"] * len(heads)), *map(row, rows)]


if __name__ == "__main__":
    write()
