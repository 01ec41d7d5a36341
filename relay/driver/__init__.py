"""Drives the flows of one relay: from a connection that came in to the last of its two endings."""

from relay.driver.advancing import advance
from relay.driver.driver import Driver, Limits
from relay.driver.flow import Flow

__all__ = ["Driver", "Flow", "Limits", "advance"]
