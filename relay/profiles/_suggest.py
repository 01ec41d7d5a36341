"""The hint for a name that does not exist: the nearest one that does, and all of them."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


def nearest(word: str, known: Iterable[str], *, what: str) -> str:
    """`did you mean mask? its settings: ...`; `what` says what the known names are."""
    names = list(known)
    close = difflib.get_close_matches(word.lower(), names, n=1)
    question = f"did you mean {close[0]}? " if close else ""
    return f"{question}{what}: {', '.join(names) if names else 'none'}"
