"""Everything that is wrong in a behaviour's table, or in a profile's file, one thing after the other: `relay check`.

What loads a profile stops at the first mistake. Here each key is read by itself, by the same code, so the messages are
the same.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import NamedTuple

from relay.errors import ConfigError
from relay.profiles._entries import STACK, read_entry, read_stack
from relay.profiles._files import HEAD, check_head, read_tables
from relay.profiles._load import load_profile
from relay.profiles._profile import StackSettings

_GROUNDS = ("status", "evidence")
_WHEN = "when"


class Mistake(NamedTuple):
    """One thing that is wrong."""

    path: tuple[str | int, ...]
    """The key that it is about; empty where it is about the whole file."""
    error: ConfigError


def mistakes_in_profile(path: Path, text: str) -> Iterator[Mistake]:
    """All that is wrong in a profile's file, whose text this is."""
    where, clean = str(path), True
    try:
        table = read_tables(text, where)
    except ConfigError as error:
        yield Mistake((), error)
        return
    for key in table:
        found = list(_mistakes_at(key, table, where))
        clean = clean and not found
        yield from found
    if clean:
        try:
            load_profile(where)
        except ConfigError as error:
            about = (key for key in table if str(error).startswith(f"{where}: {key}:"))
            yield Mistake(tuple(about), error)


def mistakes_in_behaviour(name: str, table: object, *, where: str) -> Iterator[Mistake]:
    """All that is wrong in the table of the behaviour `name`; paths begin with its keys."""
    yield from _mistakes_in_table(table, lambda part: read_entry(name, part, where=where))


def _mistakes_at(key: str, table: Mapping[str, object], where: str) -> Iterator[Mistake]:
    if key in HEAD:
        yield from _tried((key,), lambda: check_head(key, table, where))
        return
    try:
        check_head(key, table, where)  # it is a behaviour's name, then
    except ConfigError as error:
        yield Mistake((key,), error)
        return
    value = table[key]
    if key == STACK:
        found = _mistakes_in_table(value, lambda part: read_stack(part, StackSettings(), where=where))
    else:
        found = mistakes_in_behaviour(key, value, where=where)
    yield from (Mistake((key, *mistake.path), mistake.error) for mistake in found)


def _mistakes_in_table(table: object, read: Callable[[object], object]) -> Iterator[Mistake]:
    if not isinstance(table, dict):
        yield from _tried((), lambda: read(table))
        return
    grounds = {key: value for key, value in table.items() if key in _GROUNDS}
    for _, error in _tried((), lambda: read(grounds)):
        about = [key for key in grounds if f".{key}: " in str(error)] or list(grounds)
        yield Mistake(tuple(about[:1]), error)
    for key, value in table.items():
        if key == _WHEN and isinstance(value, dict) and value:
            for condition, wanted in value.items():
                yield from _tried((key, condition), partial(read, {key: {condition: wanted}}))
        elif key not in grounds:
            yield from _tried((key,), partial(read, {key: value}))


def _tried(path: tuple[str, ...], read: Callable[[], object]) -> Iterator[Mistake]:
    try:
        read()
    except ConfigError as error:
        yield Mistake(path, error)
