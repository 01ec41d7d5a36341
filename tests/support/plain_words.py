"""Words that hide who acts, or on what: a sentence without them names its subject."""

from __future__ import annotations

import re

_RIDDLES = re.compile(
    r"\b(nobody|whoever|without a word|to be had|(is|are|was|were|be|been|being) told(?! apart)|told of)\b",
    re.IGNORECASE,
)


def riddles_in(text: str) -> list[str]:
    """The lines that have such words; the words of a name count, too."""
    return [line.strip() for line in text.splitlines() if _RIDDLES.search(line.replace("_", " "))]
