"""How wide text is on a terminal, and lines of it that are not wider than a column (Unicode Standard Annex 11)."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterator


def cells(text: str) -> int:
    """How many cells a terminal gives to this."""
    return len(text) if text.isascii() else sum(map(_cells, text))


def wrapped(text: str, most: int) -> list[str]:
    """The text in lines of at most `most` cells, at least one; a word that is too long is cut."""
    lines, line = [], ""
    for word in _words(text, most):
        if line and cells(line) + 1 + cells(word) > most:
            lines.append(line)
            line = word
        else:
            line = f"{line} {word}" if line else word
    return [*lines, line]


def padded(text: str, width: int) -> str:
    """The text with spaces behind it."""
    return text + " " * (width - cells(text))


def _words(text: str, most: int) -> Iterator[str]:
    for word in text.split():
        piece, width = "", 0
        for character in word:
            wide = _cells(character)
            if width + wide > most:
                yield piece
                piece, width = "", 0
            piece, width = piece + character, width + wide
        yield piece


def _cells(character: str) -> int:
    if unicodedata.combining(character) or unicodedata.category(character) in {"Me", "Mn"}:
        return 0
    return 2 if unicodedata.east_asian_width(character) in {"F", "W"} else 1
