"""The code, its tests and their names use plain words, as the pages do (tests/docs)."""

from __future__ import annotations

from pathlib import Path

import pytest

from support.plain_words import riddles_in

_PROJECT = Path(__file__).parents[1]
_PATTERNS = _PROJECT / "tests" / "support" / "plain_words.py"  # the words themselves
_NO_WORDS = {"user.unprivileged: nobody"}  # another program's setting


@pytest.mark.parametrize("folder", ["relay", "tests", "bench", "examples"])
def test_a_sentence_names_who_acts(folder: str) -> None:
    found = {
        str(path.relative_to(_PROJECT)): lines
        for path in [*(_PROJECT / folder).rglob("*.py"), *(_PROJECT / folder).rglob("*.pkt")]
        if path not in {_PATTERNS, Path(__file__)}
        and (lines := [line for line in riddles_in(path.read_text(encoding="utf-8")) if line not in _NO_WORDS])
    }
    assert found == {}
