"""Settings: fields of a dataclass that say what they mean and what they take, and how values for them are checked.

    after_s: float = setting(3.0, low=0, doc="how long to wait, in seconds")

The type is the default's: true or false, an integer, a number or a string. TOML's types are taken as they are, except
that an integer will do for a number; a string is never read as a number, nor true as 1. On the command line there are
no types, so there the text is read as what the setting wants: 0xe0 and 224 are the same integer.
"""

from __future__ import annotations

import dataclasses
import difflib
import math
from collections.abc import Iterable, Mapping
from typing import Any, ClassVar, Protocol

from relay.errors import ConfigError

_OTHER_WORDS = {"app": "internal", "server": "external", "internal": "app", "external": "server"}
"""The two names of each side: a choice that has one is taken by the other, too."""
_NOUNS: Mapping[type, str] = {bool: "true or false", int: "an integer", float: "a number", str: "a string"}


class Declaring(Protocol):
    """What has settings: a dataclass with a name."""

    name: ClassVar[str]


def setting(
    default: Any,
    *,
    doc: str,
    low: float | None = None,
    high: float | None = None,
    choices: tuple[str, ...] = (),
    unit: str = "",
) -> Any:
    """A field that profiles and `--set` may change.

    `doc` says what it means; `low` and `high` are the least and greatest values taken, `choices` the only ones. `unit`
    is what its value counts, where the suffix of its name does not say so. Its type is its default's.
    """
    metadata = {"doc": doc, "low": low, "high": high, "choices": choices, "unit": unit}
    return dataclasses.field(default=default, metadata=metadata)


def settings_of(kind: type[Declaring]) -> dict[str, dataclasses.Field[Any]]:
    """What it declares with `setting`, by name."""
    if not dataclasses.is_dataclass(kind):
        return {}
    return {
        field.name: field
        for field in dataclasses.fields(kind)
        if "doc" in field.metadata and type(field.default) in _NOUNS
    }


def defaults_of(kind: type[Declaring]) -> dict[str, object]:
    """Every setting with its default."""
    return {name: field.default for name, field in settings_of(kind).items()}


def check_value(kind: type[Declaring], key: str, value: object, *, where: str) -> object:
    """A value from TOML, as the setting takes it.

    Raises:
        ConfigError: no such setting, the wrong type, or out of range; naming `where`.
    """
    field = _declared(kind, key, where)
    wanted: type = type(field.default)
    if wanted is float and type(value) is int:
        value = float(value)
    elif wanted is str and type(value) is str:
        value = _chosen(field, value)
    if type(value) is not wanted or not _in_range(field, value):
        raise ConfigError(f"{where}: {_shown(value)} is not {accepted(field)}", hint=f"{key}: {field.metadata['doc']}")
    return value


def read_value(kind: type[Declaring], key: str, text: str, *, where: str) -> object:
    """A value from a command line; checked as `check_value` does."""
    wanted: type = type(_declared(kind, key, where).default)
    value: object = text
    try:
        if wanted is bool:
            value = {"true": True, "false": False}.get(text, text)
        elif wanted is int:
            value = int(text, 0)
        elif wanted is float:
            value = float(text)
    except ValueError:
        value = text
    return check_value(kind, key, value, where=where)


def _declared(kind: type[Declaring], key: str, where: str) -> dataclasses.Field[Any]:
    known = settings_of(kind)
    if key not in known:
        raise ConfigError(f"{where}: {kind.name} has no setting {key!r}", hint=nearest(key, known, what="its settings"))
    return known[key]


def _chosen(field: dataclasses.Field[Any], value: str) -> str:
    """The choice that this is, also where it calls a side by its other name: `to-internal` is `to-app`."""
    choices = field.metadata["choices"]
    other = "-".join(_OTHER_WORDS.get(word, word) for word in value.split("-"))
    return other if value not in choices and other in choices else value


def _in_range(field: dataclasses.Field[Any], value: Any) -> bool:
    low, high, choices = field.metadata["low"], field.metadata["high"], field.metadata["choices"]
    if choices:
        return value in choices
    if isinstance(value, float) and not math.isfinite(value):
        return False
    return (low is None or value >= low) and (high is None or value <= high)


def _shown(value: object) -> str:
    if isinstance(value, bool):
        return repr(value).lower()
    # Thousands of digits can be had in hexadecimal only: repr() raises.
    return hex(value) if isinstance(value, int) and value.bit_length() > 64 else repr(value)


def accepted(field: dataclasses.Field[Any]) -> str:
    """What values a setting takes, in words."""
    low, high, choices = field.metadata["low"], field.metadata["high"], field.metadata["choices"]
    if choices:
        return " or ".join(repr(choice) for choice in choices)
    noun = _NOUNS[type(field.default)]
    if low is not None and high is not None:
        return f"{noun} from {low} to {high}"
    if low is not None:
        return f"{noun} of at least {low}"
    return noun if high is None else f"{noun} of at most {high}"


def nearest(word: str, known: Iterable[str], *, what: str) -> str:
    """The hint for a name that does not exist: `did you mean mask? its settings: ...`.

    `what` says what the known names are; all of them are listed.
    """
    names = list(known)
    return f"{did_you_mean(word, names)}{what}: {', '.join(names) if names else 'none'}"


def did_you_mean(word: str, known: Iterable[str], *, most: int = 1) -> str:
    """The first half of that hint, `did you mean mask? `; empty where no known name is near.

    It names up to `most` of them, the nearest first.
    """
    close = difflib.get_close_matches(word.lower(), list(known), n=most)
    if not close:
        return ""
    *others, last = close
    named = f"{', '.join(others)} or {last}" if others else last
    return f"did you mean {named}? "
