"""What the machine answers with."""

from __future__ import annotations

from typing import NamedTuple

from relay.actions import Action


class Step(NamedTuple):
    """An action to perform now, and the name of the behaviour behind it."""

    action: Action
    because: str
