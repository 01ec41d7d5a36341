"""What a connection gets that asks beyond a limit: words that `pending-limit` and `flow-limit` have in common."""

from __future__ import annotations

from typing import Any

from relay.events import DialFailure, FailureKind
from relay.settings import setting


def silence_setting() -> Any:
    """A setting that says how long a connection is left without an answer."""
    # Linux gives up a SYN that nothing answers after 127 s (tcp_syn_retries of 6).
    return setting(130.0, low=1, high=86_400, doc="how long the silence lasts, in s, before a reset")


def no_slot(why: str) -> DialFailure:
    """The failure that such a connection is refused with, as if its SYN were answered with RST."""
    return DialFailure(FailureKind.REFUSED, why)
