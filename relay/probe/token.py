"""The token that lets a client use a probe server: from a file or the environment, for `ps` shows a command line."""

from __future__ import annotations

import secrets
from pathlib import Path

from relay.errors import ConfigError
from relay.probe.protocol.proof import TOKEN_BYTES

_READ_BYTES = 1024
_LEAST = 16  # characters
_MOST = 512
_FORM = "a token is one line of 16 to 512 printable characters; `relay probe server` makes one"


def make_token() -> str:
    """A new token: 128 bits, in hexadecimal."""
    return secrets.token_hex(TOKEN_BYTES)


def check_token(text: str, *, where: str) -> bytes:
    """A token as it is used.

    Raises:
        ConfigError: it is none; naming `where`, and not showing it.
    """
    if not (_LEAST <= len(text) <= _MOST and text.isascii() and text.isprintable() and " " not in text):
        raise ConfigError(f"{where}: this is no token", hint=_FORM)
    return text.encode()


def read_token(path: Path, *, where: str) -> bytes:
    """The token that is the one line of a file.

    Raises:
        ConfigError: it cannot be read, or holds something else.
    """
    try:
        with path.open("rb") as file:
            content = file.read(_READ_BYTES)
    except OSError as error:
        raise ConfigError(f"{where}: cannot read {path}: {error.strerror}", hint=_FORM) from None
    return check_token(content.decode("latin-1").rstrip("\r\n"), where=f"{where}: {path}")
