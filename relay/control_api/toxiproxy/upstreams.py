"""Where a proxy leads, as clients write it: to a server, or to one of three places that toxiproxy has not.

HOST:PORT       a server
any://          wherever the proxy's clients ask for, over SOCKS or HTTP
refuse://       nowhere: every connection is reset
blackhole://    nowhere: a connection is accepted, and nothing answers
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import NamedTuple

from relay.address import ANYWHERE, Endpoint, parse_endpoint

_NOWHERE = Endpoint("nowhere.invalid", 0)  # RFC 6761: no such name exists; no connection is opened to it


class Upstream(NamedTuple):
    """One of them."""

    text: str
    target: Endpoint
    """Where the forward leads."""
    settings: tuple[str, ...] = ()
    """What the forward's own settings begin with."""

    def __str__(self) -> str:
        return self.text


_PLACES: Mapping[str, Upstream] = MappingProxyType(
    {
        each.text: each
        for each in (
            Upstream(str(ANYWHERE), ANYWHERE),
            Upstream("refuse://", _NOWHERE, ("refuse.failure=refused",)),
            Upstream("blackhole://", _NOWHERE, ("refuse.failure=silence", "refuse.silence_s=86400")),
        )
    }
)


def parse_upstream(text: str) -> Upstream:
    """Read the text of an upstream.

    Raises:
        ConfigError: it has none of the forms.
    """
    return _PLACES.get(text) or Upstream(text, parse_endpoint(text, where="upstream"))


def upstream_of(target: Endpoint, settings: tuple[str, ...]) -> Upstream:
    """What a forward is that was opened by other means."""
    return Upstream(str(target), target, settings)
