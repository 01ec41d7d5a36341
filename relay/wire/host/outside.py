"""What the parts that have the host's sockets need of the NAT."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import Protocol, TypeAlias

from relay.address import Endpoint
from relay.wire.packet import Buffer, undotted

SendToGuest: TypeAlias = Callable[[int, int, int, Buffer, Buffer], object]
"""Sends an IP packet to the guest: source, destination, protocol, and the payload in two parts."""


class Outside(Protocol):
    """How the guest's addresses are the host's, and the other way round: one stands for the host's loopback."""

    def translated(self, destination: int, port: int) -> Endpoint:
        """Where to send what the guest sends to this address."""

    def seen_as(self, source: int) -> int | None:
        """Which address the guest sees for what came from this one; None if it is to see nothing."""


@lru_cache(1024)
def number_of(address: str) -> int:
    """An IPv4 address, as the socket module says it, as a number."""
    return undotted(address)
