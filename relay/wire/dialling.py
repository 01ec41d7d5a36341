"""Connections that are opened to the guest: for an inbound forward the NAT sends the SYN.

To the guest the connection comes from the client's own address, or from the network's host address if the client is on
this host's loopback. What the guest could not answer through the NAT comes from the gateway.
"""

from __future__ import annotations

from collections.abc import Callable

from relay.address import Endpoint
from relay.events import DialFailure, FailureKind
from relay.wire.leg import WireLeg


class GuestDial:
    """A SYN of ours that waits for its answer; it owns the leg meanwhile. See `relay.frontends.Dial`."""

    def __init__(
        self,
        leg: WireLeg,
        destination: Endpoint,
        timeout_s: float,
        connected: Callable[[WireLeg, Endpoint], None],
        failed: Callable[[DialFailure], None],
    ) -> None:
        self._leg = leg
        self._destination = destination
        self._timeout_s = timeout_s
        self._connected = connected
        self._failed = failed
        self._timer = leg.loop.call_later(timeout_s, self._time_out)
        leg.owner = self

    def on_leg_ready(self, leg: WireLeg) -> None:
        if not leg.find_broken():
            return
        if leg.timed_out:
            self._fail(FailureKind.TIMED_OUT, "did not answer")
        else:
            self._fail(FailureKind.REFUSED, "RST")

    def on_established(self) -> None:
        """The guest has answered."""
        self._timer.cancel()
        self._leg.take_syn()
        self._connected(self._leg, self._destination)

    def abandon(self) -> None:
        """Give up; neither callback is called."""
        self._timer.cancel()
        self._leg.close()

    def _time_out(self) -> None:
        self._fail(FailureKind.TIMED_OUT, f"did not answer within {self._timeout_s:g} s")

    def _fail(self, kind: FailureKind, detail: str) -> None:
        self.abandon()
        self._failed(DialFailure(kind, f"{self._destination}: {detail}"))
