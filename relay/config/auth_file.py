"""Who may use the proxy, from a file: what stands on the command line is shown to every user by `ps`."""

from __future__ import annotations

from pathlib import Path

from relay.config.credentials import parse_credentials
from relay.errors import ConfigError

_READ_BYTES = 1024  # twice what SOCKS5 carries


def read_auth_file(path: Path) -> str:
    """The USER:PASS that is the one line of this file.

    Raises:
        ConfigError: it cannot be read, or holds something else.
    """
    option, hint = f"--auth-file: {path}", "name a file with one line, USER:PASS"
    try:
        with path.open("rb") as file:
            content = file.read(_READ_BYTES)
    except OSError as error:
        raise ConfigError(f"--auth-file: cannot read {path}: {error.strerror}", hint=hint) from None
    line, _, more = content.decode("utf-8", "surrogateescape").partition("\n")
    if more:
        raise ConfigError(f"{option}: more than one line", hint=hint)
    line = line.removesuffix("\r")
    parse_credentials(line, where=option)
    return line
