"""Strings of a profile: terminals show them, and obey control characters in them."""

from __future__ import annotations

from relay.errors import ConfigError
from relay.printable import is_printable

_SPACE = "\t\n\r"


def read_string(value: object, *, where: str, lines: bool = False) -> str:
    """A string that can be shown; with `lines` it may have several.

    Raises:
        ConfigError: it is none, or has control or invisible characters; naming `where`.
    """
    if not isinstance(value, str):
        raise ConfigError(f"{where}: {value!r} is not a string", hint="put it in quotes")
    if not all(is_printable(character) or (lines and character in _SPACE) for character in value):
        raise ConfigError(f"{where}: {value!r} has control or invisible characters", hint="leave them out")
    return value
