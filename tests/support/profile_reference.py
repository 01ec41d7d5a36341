"""The parts of docs/profiles.md that are made from the profiles: the table, and a section for each.

`python -m support.profile_reference`, in `tests`, writes them.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from relay.profiles import COLUMNS, Evidence, Profile, Quirk, available, columns_of, describe_settings
from support.page_parts import Page, row

PAGE = Page("profiles.md", "tests/support/profile_reference.py")


def references() -> dict[str, str]:
    """What the page ought to say, by part."""
    return {"table": "\n".join(_table()) + "\n", "sections": "\n".join(_sections()) + "\n"}


def _table() -> Iterator[str]:
    yield row(["profile", *COLUMNS])
    yield row(["---"] * (1 + len(COLUMNS)))
    for profile in available():
        yield row([f"[`{profile.name}`](#{profile.name})", *columns_of(profile).values()])
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
    yield row(["quirk", "settings", "known", "evidence"])
    yield row(["---"] * 4)
    yield from map(_quirk, profile.quirks)
    yield from map(_absent, profile.absent)
    if profile.stack.evidence:
        stack = profile.stack
        settings = ", ".join(f"`{key} = {_value(value)}`" for key, value in stack.settings.items())
        yield row(["`stack`", settings, stack.status, _evidence(stack.evidence)])
    yield ""


def _quirk(quirk: Quirk) -> str:
    settings = ", ".join(
        f"`{setting.name} = {_value(quirk.settings[setting.name])}`" for setting in describe_settings(quirk.kind)
    )
    return row([f"`{quirk.name}`", settings, quirk.status, _evidence(quirk.evidence)])


def _absent(quirk: Quirk) -> str:
    return row([f"no `{quirk.name}`", "", quirk.status, _evidence(quirk.evidence)])


def _value(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _evidence(evidence: tuple[Evidence, ...]) -> str:
    return " ".join(f"{each.says} ({', '.join(filter(None, (each.versions, _source(each))))})" for each in evidence)


def _source(evidence: Evidence) -> str:
    """The source, its address as a link."""
    return re.sub(r"https?://[^\s,)]+", r"<\g<0>>", evidence.source)


if __name__ == "__main__":
    PAGE.write(references())
