"""Drives the flows of one relay: from a connection that came in to the last of its two endings."""

from relay.driver.advancing import advance
from relay.driver.driver import Driver, Limits

__all__ = ["Driver", "Limits", "advance"]
