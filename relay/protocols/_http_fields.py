"""Which header and trailer fields are passed on (RFC 9110 sections 6.5.1 and 7.6.1)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeAlias

import h11

Head: TypeAlias = h11.Request | h11.InformationalResponse | h11.Response
Fields: TypeAlias = list[tuple[bytes, bytes]]

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
_NOT_IN_TRAILERS = (
    _HOP_BY_HOP
    | _FRAMING
    | {
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
)
"""What frames, routes, authenticates or says how to take the content: it comes before that, or means nothing."""


def options(head: Head) -> set[bytes]:
    """What the Connection header names, in lower case."""
    named = (value.lower().split(b",") for name, value in head.headers if name == b"connection")
    return {option.strip() for values in named for option in values}


def passed_on(head: Head, *, upgrade: bool) -> Fields:
    """The headers without those of one hop and Host; with `upgrade`, an offer or choice of another protocol stays."""
    named = options(head)
    dropped = _HOP_BY_HOP | (named - _FRAMING)
    kept = [(name, value) for name, value in head.headers.raw_items() if name.lower() not in dropped]
    protocols = [value for name, value in head.headers if name == b"upgrade" and value]
    if upgrade and protocols and b"upgrade" in named:
        kept += [(b"Connection", b"Upgrade"), (b"Upgrade", b", ".join(protocols))]
    return kept


def passed_on_trailers(trailers: Sequence[tuple[bytes, bytes]], head: Head) -> Fields:
    """The trailers of the message with this head, without those that have no place there."""
    if not trailers:
        return []
    dropped = _NOT_IN_TRAILERS | options(head)
    return [(name, value) for name, value in trailers if name.lower() not in dropped]
