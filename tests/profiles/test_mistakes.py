"""All that is wrong in a profile's file, found in one reading."""

from __future__ import annotations

from pathlib import Path

import pytest

from relay.profiles._mistakes import mistakes_in_profile

_GOOD = 'extends = "vmware-fusion"\ntitle = "Ours"\n'


def found_in(path: Path, text: str) -> list[tuple[str | int, ...]]:
    path.write_text(text)
    return [mistake.path for mistake in mistakes_in_profile(path, text)]


@pytest.mark.parametrize(
    ("text", "paths"),
    [
        (_GOOD, []),
        ("title = ", [()]),
        (_GOOD + "[stack]\nmss = 1\nnothing = 2\n", [("stack", "mss"), ("stack", "nothing")]),
        (_GOOD + "[tos-reset]\nmask = 'x'\ncolour = 1\n", [("tos-reset", "mask"), ("tos-reset", "colour")]),
        (_GOOD + "[no-such-rule]\nx = 1\n", [("no-such-rule",)]),
        (_GOOD + "tos-reset = 3\nstack = 4\n", [("tos-reset",), ("stack",)]),
    ],
)
def test_each_mistake_is_found_where_it_is(text: str, paths: list[tuple[str, ...]], tmp_path: Path) -> None:
    assert found_in(tmp_path / "ours.toml", text) == paths
