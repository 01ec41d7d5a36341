"""Paragraphs about profiles and this host, 80 columns wide where they can be."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator

from relay.observe import Fidelity, Support
from relay.profiles import Profile

WIDTH = 80
_COLOURS = {Fidelity.EXACT: "\x1b[32m", Fidelity.APPROXIMATE: "\x1b[33m", Fidelity.IMPOSSIBLE: "\x1b[31m"}
_PLAIN = "\x1b[0m"


def heading(profile: Profile) -> str:
    return f"{profile.title}, {profile.era}" if profile.era else profile.title


def support_lines(support: Support, *, colour: bool) -> Iterator[str]:
    yield f"  {painted(support.fidelity, colour=colour)} here, through {support.provider}"
    yield from indented(support.how, by="    ")
    if support.remedy:
        yield from indented(f"remedy: {support.remedy}", by="    ")


def painted(fidelity: Fidelity, *, colour: bool) -> str:
    word = f"{fidelity.value:11}"
    return f"{_COLOURS[fidelity]}{word}{_PLAIN}" if colour else word


def indented(text: str, by: str = "  ") -> list[str]:
    return textwrap.wrap(
        text, WIDTH, initial_indent=by, subsequent_indent=by + "  ", break_long_words=False, break_on_hyphens=False
    )
