"""What the proxy demands of its clients: one user and one password."""

from __future__ import annotations

from relay.errors import ConfigError
from relay.protocols import Credentials


def parse_credentials(text: str, *, where: str) -> Credentials:
    """Read USER:PASS.

    Raises:
        ConfigError: it is something else, or more than SOCKS5 carries; naming `where`.
    """
    user, colon, password = text.partition(":")
    if not user or not colon or not password:
        raise ConfigError(
            f"{where}: not of the form USER:PASS", hint="give both, as in alice:pass-phrase; neither part may be empty"
        )
    for part in (user, password):
        try:
            size_bytes = len(part.encode("utf-8", "surrogateescape"))
        except UnicodeEncodeError:
            raise ConfigError(f"{where}: user or password is not text", hint="give UTF-8, or any other bytes") from None
        if size_bytes > 255:  # RFC 1929: one length byte each
            raise ConfigError(f"{where}: user or password is too long", hint="SOCKS5 carries at most 255 bytes of each")
    return Credentials(user, password)
