"""Every requirement of RFC 9293 that touches a relay's TCP is the name of a test here."""

from __future__ import annotations

import re
from pathlib import Path

ROWS = {
    "must": [*range(1, 41), 46, 48, 49, *range(54, 69)],
    "shld": [1, 2, 3, 5, 7, 10, 11, 12, *range(14, 20), 21, 22, 23, *range(25, 32)],
    "may": [1, 2, 12, 13],
    "rec": [1],
}
"""MUST-41 to 45, 47, 50 to 53: OPEN's options, source routes and MTU discovery, which a relay's TCP has no use for."""


def _named() -> dict[str, set[int]]:
    named: dict[str, set[int]] = {kind: set() for kind in ROWS}
    for path in Path(__file__).parent.glob("test_*.py"):
        for name in re.findall(r"^def test_(\w+)", path.read_text(encoding="utf-8"), re.MULTILINE):
            for kind, numbers in re.findall(r"(must|shld|may|rec)((?:_\d+)+)", name):
                named[kind] |= {int(number) for number in numbers.strip("_").split("_")}
    return named


def test_every_row_is_named_by_a_test() -> None:
    named = _named()
    assert {kind: sorted(set(numbers) - named[kind]) for kind, numbers in ROWS.items()} == {kind: [] for kind in ROWS}
