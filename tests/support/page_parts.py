"""The parts of a page of docs/ that are made from what they describe, between two comments each."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

_DOCS = Path(__file__).parents[2] / "docs"
_END = "<!-- end -->\n"


class Page:
    """A page, and the module that writes its parts."""

    def __init__(self, name: str, writer: str) -> None:
        self._path = _DOCS / name
        self._begin = f"<!-- {{}}: written by {writer} -->\n"

    def written(self, part: str) -> str:
        """What it says."""
        return self._path.read_text(encoding="utf-8").partition(self._begin.format(part))[2].partition(_END)[0]

    def write(self, parts: Mapping[str, str]) -> None:
        """Have it say this, by part."""
        for part, text in parts.items():
            before, begin, rest = self._path.read_text(encoding="utf-8").partition(self._begin.format(part))
            assert begin, f"the page has no place for the {part}"
            self._path.write_text(before + begin + text + _END + rest.partition(_END)[2], encoding="utf-8")


def row(cells: Sequence[str]) -> str:
    """A row of a table, with its cells' own bars and stars escaped."""
    escaped = (" ".join(cell.replace("|", "\\|").replace("*", "\\*").split()) for cell in cells)
    return f"| {' | '.join(escaped)} |"
