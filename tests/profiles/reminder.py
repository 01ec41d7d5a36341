"""Behaviours that another package brings, with settings of each type and with one limit or none."""

from __future__ import annotations

from dataclasses import dataclass

from relay.behaviours import Behaviour, setting


@dataclass
class Reminder(Behaviour):
    """A behaviour that does nothing but have settings."""

    after_s: float = setting(3.0, doc="how long to wait, in seconds")
    loud: bool = setting(False, doc="whether to shout")
    times: int = setting(1, low=1, doc="how often")
    share: float = setting(0.5, high=1, doc="of how many flows")
    words: str = setting("grr", doc="what to say")
    count: int = 0  # what it remembers, not a setting

    def __post_init__(self) -> None:
        if self.words == "please":
            raise ValueError("that is no reminding")


class Plain(Behaviour):
    """No dataclass, no settings."""
