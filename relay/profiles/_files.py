"""Where profiles lie, and what stands at the head of their files.

A name without a separator that does not end in `.toml` is a shipped profile's name or alias; anything else is a path,
relative to the current directory, or to the file whose `extends` it is.
"""

from __future__ import annotations

import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from importlib.resources.abc import Traversable
from pathlib import Path

from relay.behaviours import installed_behaviours, with_aliases
from relay.errors import ConfigError
from relay.profiles._entries import STACK
from relay.profiles._text import read_string
from relay.settings import did_you_mean, nearest

ROOT = "transparent"
"""What a profile extends that does not say."""

_MAX_DEPTH = 50
_MAX_INTEGER_BITS = 63  # and the sign

HEAD = ("title", "era", "aliases", "extends", "symptom", "reproduce", "remedy")


@dataclass(frozen=True)
class Document:
    """A profile's file, read, with its head checked and the behaviours' tables as they are."""

    name: str
    identity: object
    """The same for the same file, whatever it was called."""
    where: str
    """What messages call it."""
    directory: Path | None
    """What paths in it are relative to; None for a shipped profile."""
    title: str
    era: str
    aliases: tuple[str, ...]
    extends: str
    symptom: str
    reproduce: str
    remedy: str
    tables: Mapping[str, object]


def find(name_or_path: str, *, asked_by: str, directory: Path | None = None) -> Document:
    """Find a profile by name, alias or path, for `asked_by` (an option, or a file and key).

    Raises:
        ConfigError: there is none, it cannot be read, or its head is wrong.
    """
    if "/" in name_or_path or "\\" in name_or_path or name_or_path.endswith(".toml"):
        path = (directory or Path()) / name_or_path
        text = _text(path, str(path))
        return _document(text, name=name_or_path, identity=path.resolve(), where=str(path), directory=path.parent)
    for document in shipped():
        if name_or_path == document.name or name_or_path in document.aliases:
            return document
    hint = f"{nearest_profiles(name_or_path)}; or give the path of a .toml file"
    raise ConfigError(f"{asked_by}: unknown profile {name_or_path!r}", hint=hint)


def profile_names() -> list[str]:
    """Every name and alias that `find` knows, each profile's name before its aliases."""
    return [name for document in shipped() for name in (document.name, *document.aliases)]


def nearest_profiles(name: str) -> str:
    """The hint for a name that no profile has: up to three that are near, and what lists all."""
    return f"{did_you_mean(name, profile_names(), most=3)}`relay profiles` lists all profiles"


@cache
def shipped() -> tuple[Document, ...]:
    """The profiles in this package, by name."""
    paths = sorted(
        (path for path in files(__package__).iterdir() if path.name.endswith(".toml")),
        key=lambda p: p.name.removesuffix(".toml"),
    )
    names = [path.name.removesuffix(".toml") for path in paths]
    return tuple(
        _document(_text(path, path.name), name=name, identity=name, where=path.name, directory=None)
        for path, name in zip(paths, names, strict=True)
    )


def _text(path: Traversable, where: str) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except OSError as fault:
        raise ConfigError(
            f"{where}: {fault.strerror}", hint="give a shipped profile's name, or the path of a file"
        ) from None
    except UnicodeDecodeError as fault:
        raise ConfigError(f"{where}: not UTF-8: {fault.reason} at byte {fault.start}", hint="TOML is UTF-8") from None
    except ValueError as fault:  # a NUL in it, or what no file system can spell
        raise ConfigError(f"{where!r}: {fault}", hint="give a shipped profile's name, or the path of a file") from None


def _document(text: str, *, name: str, identity: object, where: str, directory: Path | None) -> Document:
    table = read_tables(text, where)
    for key in table:
        check_head(key, table, where)
    return Document(
        name=name,
        identity=identity,
        where=where,
        directory=directory,
        title=_title(table, where),
        era=_string(table, "era", "", where),
        aliases=_aliases(table, where),
        extends=_string(table, "extends", ROOT, where),
        symptom=_string(table, "symptom", "", where),
        reproduce=_string(table, "reproduce", "", where),
        remedy=_string(table, "remedy", "", where),
        tables={key: value for key, value in table.items() if key not in HEAD},
    )


def check_head(key: str, table: Mapping[str, object], where: str) -> None:
    """Insist that a key may stand at the top of a profile's file, with its value unless it is a behaviour's table.

    Raises:
        ConfigError: it may not, or is not.
    """
    known = (*HEAD, STACK, *with_aliases(installed_behaviours()))
    if key not in known:
        raise ConfigError(f"{where}: unknown key or behaviour {key!r}", hint=nearest(key, known, what="there are"))
    if key == "title":
        _title(table, where)
    elif key == "aliases":
        _aliases(table, where)
    elif key in HEAD:
        _string(table, key, "", where)


def read_tables(text: str, where: str) -> dict[str, object]:
    """Read TOML whose values can be shown: tomllib takes integers and depths at which repr() gives up."""
    try:
        table = tomllib.loads(text)
        level: list[object] = [table]
        for _ in range(_MAX_DEPTH):
            if any(isinstance(value, int) and value.bit_length() > _MAX_INTEGER_BITS for value in level):
                raise ValueError("an integer has more than 64 bits")
            level = [inner for value in level for inner in _inside(value)]
        if level:
            raise RecursionError
    except ValueError as fault:
        raise ConfigError(f"{where}: not TOML: {fault}", hint="its syntax is at https://toml.io") from None
    except RecursionError:
        raise ConfigError(
            f"{where}: tables or arrays in more than {_MAX_DEPTH} others", hint="three are enough"
        ) from None
    return table


def _inside(value: object) -> Iterable[object]:
    if isinstance(value, dict):
        return value.values()
    return value if isinstance(value, list) else ()


def _title(table: Mapping[str, object], where: str) -> str:
    title = _string(table, "title", "", where)
    if not title:
        raise ConfigError(f"{where}: no title", hint='say whose NAT it is: title = "..."')
    return title


def _string(table: Mapping[str, object], key: str, default: str, where: str) -> str:
    return read_string(table.get(key, default), where=f"{where}: {key}")


def _aliases(table: Mapping[str, object], where: str) -> tuple[str, ...]:
    value = table.get("aliases", [])
    if not (isinstance(value, list) and all(isinstance(alias, str) for alias in value)):
        raise ConfigError(f"{where}: aliases: {value!r} is not a list of strings", hint='e.g. aliases = ["my-nat"]')
    return tuple(read_string(alias, where=f"{where}: aliases") for alias in value)
