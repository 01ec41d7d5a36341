"""The parts of docs/profiles.md that are made from the profiles: the table, and a section for each.

`python -m support.profile_reference`, in `tests`, writes them.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from relay.profiles import COLUMNS, Evidence, Profile, Quirk, available, columns_of, describe_settings

PAGE = Path(__file__).parents[2] / "docs" / "profiles.md"
_BEGIN = "<!-- {}: written by tests/support/profile_reference.py -->\n"
_END = "<!-- end -->\n"


def references() -> dict[str, str]:
    """What the page ought to say, by part."""
    return {"table": "\n".join(_table()) + "\n", "sections": "\n".join(_sections()) + "\n"}


def written(part: str) -> str:
    """What it says."""
    return PAGE.read_text(encoding="utf-8").partition(_BEGIN.format(part))[2].partition(_END)[0]


def write() -> None:
    for part, text in references().items():
        before, begin, rest = PAGE.read_text(encoding="utf-8").partition(_BEGIN.format(part))
        assert begin, f"the page has no place for the {part}"
        PAGE.write_text(before + begin + text + _END + rest.partition(_END)[2], encoding="utf-8")


def _table() -> Iterator[str]:
    yield _row(["profile", *COLUMNS])
    yield _row(["---"] * (1 + len(COLUMNS)))
    for profile in available():
        yield _row([f"[`{profile.name}`](#{profile.name})", *columns_of(profile).values()])
    yield ""
    yield from (f"* {column}: {meaning}" for column, meaning in COLUMNS.items())


def _sections() -> Iterator[str]:
    for profile in available():
        yield from _section(profile)


def _section(profile: Profile) -> Iterator[str]:
    yield f"### {profile.name}"
    yield ""
    yield f"{profile.title}{f', {profile.era}' if profile.era else ''}."
    if profile.aliases:
        yield f"Also called {', '.join(f'`{alias}`' for alias in profile.aliases)}."
    yield ""
    yield f"* What apps see: {profile.symptom}"
    yield f'* In a test: `@pytest.mark.nat_relay("{profile.name}")`. {profile.reproduce}'
    yield f"* How to be safe: {profile.remedy}"
    yield ""
    yield _row(["quirk", "settings", "known", "evidence"])
    yield _row(["---"] * 4)
    yield from map(_quirk, profile.quirks)
    yield from map(_absent, profile.absent)
    if profile.stack.evidence:
        stack = profile.stack
        settings = ", ".join(f"`{key} = {_value(value)}`" for key, value in stack.settings.items())
        yield _row(["`stack`", settings, stack.status, _evidence(stack.evidence)])
    yield ""


def _quirk(quirk: Quirk) -> str:
    settings = ", ".join(
        f"`{setting.name} = {_value(quirk.settings[setting.name])}`" for setting in describe_settings(quirk.kind)
    )
    return _row([f"`{quirk.name}`", settings, quirk.status, _evidence(quirk.evidence)])


def _absent(quirk: Quirk) -> str:
    return _row([f"no `{quirk.name}`", "", quirk.status, _evidence(quirk.evidence)])


def _value(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _evidence(evidence: tuple[Evidence, ...]) -> str:
    return " ".join(f"{each.says} ({', '.join(filter(None, (each.versions, _source(each))))})" for each in evidence)


def _source(evidence: Evidence) -> str:
    """The source, its address as a link."""
    return re.sub(r"https?://[^\s,)]+", r"<\g<0>>", evidence.source)


def _row(cells: list[str]) -> str:
    escaped = (" ".join(cell.replace("|", "\\|").replace("*", "\\*").split()) for cell in cells)
    return f"| {' | '.join(escaped)} |"


if __name__ == "__main__":
    write()
