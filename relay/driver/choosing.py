"""Which behaviours a flow has, where some have conditions: decided when its initiator has said where it wants to go.

`nth` and `first` count the connections of one relay, or of one worker, that the other conditions fit, since it was
started or got its seed. What stands in a forward's own settings counts the connections of that forward.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from relay.address import Endpoint
from relay.behaviours import Conditional, Lineup, When
from relay.driver.chance import drawn_once

if TYPE_CHECKING:
    from relay.driver.driver import Driver
    from relay.driver.flow import Flow


class Choosing:
    """Decides for the flows of one relay, and keeps count."""

    def __init__(self, driver: Driver) -> None:
        self._driver = driver
        self._counts: dict[tuple[str, When, Endpoint | None], int] = {}

    def choose(self, flow: Flow, destination: Endpoint) -> Lineup:
        """What the flow's behaviours are from now on."""
        lineup = flow.profile.lineup
        return lineup.having(
            frozenset(each.place for each in lineup.conditional if self._holds(flow, destination, each))
        )

    def start_anew(self) -> None:
        """Count from 1 again."""
        self._counts.clear()

    def _holds(self, flow: Flow, destination: Endpoint, conditional: Conditional) -> bool:
        name, when = conditional.name, conditional.when
        if not when.fits(destination, flow.log.process):
            return False
        if when.counts:
            shared = any((each.name, each.when) == (name, when) for each in self._driver.profile.lineup.conditional)
            key = (name, when, None if shared else flow.forward)
            number = self._counts[key] = self._counts.get(key, 0) + 1
            if not when.holds_for(number):
                return False
        return drawn_once(flow.log, self._driver.seed, flow.seeded_number, name, when.share)
