"""What captures a guest's link, and what the host's sockets make of it."""

from __future__ import annotations

from typing import Protocol

from relay.wire.host.view import HostTap
from relay.wire.link.tapped import LinkTap


class Tap(LinkTap, HostTap, Protocol):
    """Is shown both."""
