"""What `relay profiles` says of each profile, in a word or two a column; its behaviours say it, as they are set."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from relay.profiles._profile import Profile

COLUMNS: Mapping[str, str] = MappingProxyType(
    {
        "idle": "how long a connection may be without traffic; -: without a limit",
        "hear": "what the app and the server get then: FIN, RST, RST* (in answer to its next segment), or nothing (-)",
        "probes": "whether keepalive probes are traffic: count, or useless",
        "refused": "what a refused connect is to the app; open, ...: it succeeds, and ends so; silence: no answer",
        "half-close": "whether the other direction stays open after a FIN: kept, or lost",
        "RST": "what a reset of the app is to the server, and one of the server to the app",
    }
)
"""Each column's name, and what it says."""

UNSAID = "-"
"""Where no behaviour of the profile decides."""


def columns_of(profile: Profile) -> dict[str, str]:
    """The profile's word for each column."""
    said: dict[str, str] = {}
    for behaviour in profile.behaviours():
        said |= behaviour.in_short()
    return {column: said.get(column, UNSAID) for column in COLUMNS}
