"""A phase of a flow: an object that holds what exists in it alone; `relay.driver.flow` has them in order."""

from __future__ import annotations

from typing import Protocol


class Phase(Protocol):
    """One phase of a flow."""

    def on_leg_ready(self) -> None:
        """A leg can be read or written again, or has broken."""

    def leave(self) -> None:
        """The flow is over: let go of what the phase holds."""


class _Over:
    def on_leg_ready(self) -> None:
        pass

    def leave(self) -> None:
        pass


OVER: Phase = _Over()
"""Nothing more happens."""
