"""Strings of a profile: terminals show them, and obey control characters in them."""

from __future__ import annotations

from relay.errors import ConfigError
from relay.printable import escape_unprintable

_SPACES = str.maketrans("\t\n\r", "   ")


def read_string(value: object, *, where: str, lines: bool = False) -> str:
    """A string that can be shown; with `lines` it may have several.

    Raises:
        ConfigError: it is none, or has control or invisible characters; naming `where`.
    """
    if not isinstance(value, str):
        raise ConfigError(f"{where}: {value!r} is not a string", hint="put it in quotes")
    shown = value.translate(_SPACES) if lines else value
    if escape_unprintable(shown) != shown:
        raise ConfigError(f"{where}: {value!r} has control or invisible characters", hint="leave them out")
    return value
