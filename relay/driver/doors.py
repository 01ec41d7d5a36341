"""What clients have the relay keep open for others to come in by: sockets for datagrams, and listeners of binds.

Each takes descriptors and a port, so a client has a limited number of them. A client is the host that it connects from.
"""

from __future__ import annotations

from collections import Counter

from relay.events import DialFailure, FailureKind

MAX_OF_ONE_CLIENT = 128


class Doors:
    """The doors of all clients, counted."""

    def __init__(self) -> None:
        self._open: Counter[str] = Counter()

    def open(self, client: str) -> Door | None:
        """One more for this client; None if it has as many as it may."""
        if self._open[client] >= MAX_OF_ONE_CLIENT:
            return None
        self._open[client] += 1
        return Door(self, client)

    @staticmethod
    def none_left(client: str) -> DialFailure:
        """Why a client has no more."""
        return DialFailure(
            FailureKind.EXHAUSTED, f"{client} has {MAX_OF_ONE_CLIENT} binds and associations open, as many as it may"
        )

    def close(self, client: str) -> None:
        """One less."""
        self._open[client] -= 1
        if not self._open[client]:
            del self._open[client]


class Door:
    """One of them; its user closes it once."""

    def __init__(self, doors: Doors, client: str) -> None:
        self._doors = doors
        self._client = client

    def close(self) -> None:
        self._doors.close(self._client)
