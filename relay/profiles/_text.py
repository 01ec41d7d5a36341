"""Strings of a profile: they are shown on terminals, which obey what stands in them."""

from __future__ import annotations

import re

from relay.errors import ConfigError

_CONTROL = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029]")
_CONTROL_BUT_SPACE = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f]")


def read_string(value: object, *, where: str, lines: bool = False) -> str:
    """A string that can be shown; with `lines` it may have several.

    Raises:
        ConfigError: it is none, or has control characters; naming `where`.
    """
    if not isinstance(value, str):
        raise ConfigError(f"{where}: {value!r} is not a string", hint="put it in quotes")
    if (_CONTROL_BUT_SPACE if lines else _CONTROL).search(value):
        raise ConfigError(f"{where}: {value!r} has control characters", hint="leave them out")
    return value
