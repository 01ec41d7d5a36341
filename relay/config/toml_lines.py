"""Where the keys of a TOML text stand, for messages about them: the parser itself does not say.

    listen = "127.0.0.1:1080"        ("listen",) is in line 1
    [[forward]]                      ("forward", 0)
    target = "192.0.2.1:22"          ("forward", 0, "target")
    [forward.latency]                ("forward", 0, "latency")
    when = { nth = 2 }               ("forward", 0, "latency", "when")

What stands inside an inline table or an array has no entry of its own: `line_of` gives the line where that begins.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import TypeAlias

Path: TypeAlias = tuple[str | int, ...]

_KEY = r""""(?:\\.|[^"\\\n])*"|'[^'\n]*'|[A-Za-z0-9_-]+"""
_DOTTED = re.compile(rf"[ \t]*(?:{_KEY})(?:[ \t]*\.[ \t]*(?:{_KEY}))*[ \t]*")
_ONE_KEY = re.compile(_KEY)
_SKIPPED = re.compile(
    r'"""(?:\\.|[^\\])*?"{3,5}' r"|'''.*?'{3,5}" r'|"(?:\\.|[^"\\\n])*"' r"|'[^'\n]*'" r"|#[^\n]*", re.DOTALL
)


def lines_of(text: str) -> dict[Path, int]:
    """The line of each key of a valid TOML text, counted from 1, by its path: keys, and places in arrays of tables."""
    lines: dict[Path, int] = {}
    counts: dict[Path, int] = {}
    table: Path = ()
    at = 0
    while at < len(text):
        start = re.compile(r"[ \t\r]*").match(text, at)
        begin = start.end() if start else at
        end = _end_of_entry(text, begin)
        number = text.count("\n", 0, begin) + 1
        if text.startswith("[", begin):
            is_array = text.startswith("[[", begin)
            keys = _keys_at(text, begin + (2 if is_array else 1))
            table = _placed(keys[:-1], counts) + keys[-1:]
            if is_array:
                counts[table] = counts.get(table, -1) + 1
                lines.setdefault(table, number)
                table = (*table, counts[table])
            lines.setdefault(table, number)
        elif keys := _keys_at(text, begin):
            for size in range(1, len(keys) + 1):
                lines.setdefault(table + keys[:size], number)
        at = end + 1
    return lines


def line_of(lines: Mapping[Path, int], path: Sequence[str | int]) -> int | None:
    """The line of this key, or of the nearest thing around it that has one."""
    for size in range(len(path), 0, -1):
        if (number := lines.get(tuple(path[:size]))) is not None:
            return number
    return None


def _keys_at(text: str, at: int) -> Path:
    match = _DOTTED.match(text, at)
    return tuple(_plain(key) for key in _ONE_KEY.findall(match[0])) if match else ()


def _plain(key: str) -> str:
    return key[1:-1] if key[0] in "\"'" else key


def _placed(keys: Path, counts: Mapping[Path, int]) -> Path:
    """The path of a table, with the place of each array of tables that it is in: the last one begun."""
    path: Path = ()
    for key in keys:
        path = (*path, key)
        if path in counts:
            path = (*path, counts[path])
    return path


def _end_of_entry(text: str, at: int) -> int:
    """Where the line break is that ends what begins here: a header, or a key and its value."""
    depth = 0
    while at < len(text):
        if skipped := _SKIPPED.match(text, at):
            at = skipped.end()
            continue
        depth += {"[": 1, "{": 1, "]": -1, "}": -1}.get(text[at], 0)
        if text[at] == "\n" and depth <= 0:
            return at
        at += 1
    return at
