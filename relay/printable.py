"""Text that others have chosen, as a terminal may show it.

A name or a message of a peer's making can hold characters that a terminal obeys (escape sequences, line ends), that
turn the order of those beside them (U+202E), or that are not seen at all (U+200B), so that a line reads as something
that it is not. They are escaped as Python writes them: `\\x1b`, `\\u202e`.
"""

from __future__ import annotations

import unicodedata

# Controls, format characters (bidirectional and zero-width ones), surrogates, private use, unassigned; line and
# paragraph separators.
_HIDDEN_CATEGORIES = frozenset({"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"})
# Of other categories, what is not seen either (Default_Ignorable_Code_Point of Unicode 16), and the empty Braille cell.
_HIDDEN = frozenset(
    map(
        chr,
        (
            *(0x034F, 0x115F, 0x1160, 0x17B4, 0x17B5, 0x180F, 0x2800, 0x3164, 0xFFA0),
            *range(0x180B, 0x180E),
            *range(0xFE00, 0xFE10),
            *range(0xE0100, 0xE01F0),
        ),
    )
)


def is_printable(character: str) -> bool:
    """Whether a terminal shows this character, and does nothing else with it."""
    return unicodedata.category(character) not in _HIDDEN_CATEGORIES and character not in _HIDDEN


def escape_unprintable(text: str) -> str:
    """The text on one line, with an escape for every character that is not printable."""
    if text.isascii() and text.isprintable():
        return text
    return "".join(map(_escape, text))


def _escape(character: str) -> str:
    return character if is_printable(character) else character.encode("unicode_escape").decode("ascii")
