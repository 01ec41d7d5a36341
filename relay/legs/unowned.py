"""What owns a leg that no flow owns: it does nothing, and holds nothing."""

from __future__ import annotations

from typing import Any

from relay.legs._api import LegOwner


class _NoOwner:
    def on_leg_ready(self, leg: Any) -> None:
        pass


NO_OWNER: LegOwner = _NoOwner()
"""The owner of every leg that is closed, or has no other yet."""
