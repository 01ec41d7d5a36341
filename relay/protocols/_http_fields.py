"""Which header and trailer fields are passed on (RFC 9110 sections 6.5.1 and 7.6.1)."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TypeAlias

Field: TypeAlias = tuple[bytes, bytes]

_HOP_BY_HOP = frozenset(
    {
        b"connection",
        b"host",  # not of one hop, but written anew for the next
        b"keep-alive",
        b"proxy-authenticate",
        b"proxy-authorization",
        b"proxy-connection",
        b"te",
        b"transfer-encoding",
        b"upgrade",
    }
)
_FRAMING = frozenset({b"content-length"})  # a Connection header may not name it away: the body would have no end
_LOOKED_AT = _HOP_BY_HOP | _FRAMING
_NOT_IN_TRAILERS = _LOOKED_AT | {
    b"authorization",
    b"content-encoding",
    b"content-range",
    b"content-type",
    b"cookie",
    b"expect",
    b"max-forwards",
    b"proxy-authentication-info",
    b"set-cookie",
    b"trailer",
    b"www-authenticate",
}
"""What frames, routes, authenticates or says how to take the content: it comes before that, or means nothing."""


class HeadFields:
    """The fields of one head, told apart in one pass: what goes on, and what the rest says about this hop."""

    __slots__ = ("chunked", "length", "options", "passed_on", "protocols")

    def __init__(self, fields: Iterable[Field]) -> None:
        """`fields` are as h11 has read them."""
        self.passed_on: list[Field] = []
        """Without the fields of one hop, and Host."""
        self.chunked = False
        """Whether the body comes in chunks; h11 takes no other coding, and each field once."""
        self.length: int | None = None
        """What Content-Length says."""
        self.options: frozenset[bytes] | set[bytes] = frozenset()
        """What Connection names, in lower case."""
        self.protocols: list[bytes] = []
        """What Upgrade offers or chooses."""
        for field in fields:
            name = field[0].lower()
            if name not in _LOOKED_AT:
                self.passed_on.append(field)
            elif name == b"content-length":
                self.length = int(field[1])
                self.passed_on.append(field)
            elif name == b"connection":
                self.options = self.options | {option.strip() for option in field[1].lower().split(b",")}
            elif name == b"transfer-encoding":
                self.chunked = True
            elif name == b"upgrade" and field[1].strip(b" \t,"):
                self.protocols.append(field[1])
        if self.options and (named := self.options - _LOOKED_AT):
            self.passed_on = [field for field in self.passed_on if field[0].lower() not in named]

    def keep(self, http_version: bytes) -> bool:
        """Whether the connection goes on after the message (RFC 9112 section 9.3)."""
        return b"close" not in self.options and (http_version >= b"1.1" or b"keep-alive" in self.options)

    @property
    def upgrade(self) -> list[Field]:
        """The offer or choice of another protocol, as it is passed on; empty if there is none."""
        if not self.protocols or b"upgrade" not in self.options:
            return []
        return [(b"Connection", b"Upgrade"), (b"Upgrade", b", ".join(self.protocols))]

    def trailers_passed_on(self, trailers: Sequence[Field]) -> list[Field]:
        """The trailers of the message with this head, without those that have no place there."""
        if not trailers:
            return []
        dropped = _NOT_IN_TRAILERS | self.options
        return [field for field in trailers if field[0].lower() not in dropped]
