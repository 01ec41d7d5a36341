"""What the providers see on a flow's internal leg, turned into events for the flow.

A provider that withholds segments calls when it has done so; one that must be asked is asked around every read and
write. Either way the flow hears of a TOS byte that changed, once for each change.
"""

from __future__ import annotations

import socket
from collections.abc import Callable

from relay.net.leg import Leg
from relay.observe import Watch, Observers, TosWatch


class InternalFacts:
    """The watches on one internal leg. `close` them before the leg is closed."""

    __slots__ = ("_changed", "_keepalive", "_tos", "syn", "tos")

    def __init__(
        self,
        observers: Observers,
        leg: Leg,
        *,
        syn: int,
        mask: int,
        withheld: Callable[[int | None], None],
        changed: Callable[[int], None],
        probed: Callable[[], None],
    ) -> None:
        self.syn = syn
        """The TOS byte of the side's SYN."""
        self.tos = syn
        """The last one known."""
        self._changed = changed
        self._tos: TosWatch | None = None
        self._keepalive: Watch | None = None
        if observers.tos is not None and mask:
            self._tos = observers.tos.attach(leg.sock, syn_tos=syn, mask=mask, changed=withheld)
            if self._tos is not None and self._tos.asks:
                leg.ask_tos = self.ask
        if observers.keepalive is not None:
            self._keepalive = observers.keepalive.attach(leg.sock, probed)

    def ask(self) -> None:
        """Find out now whether the byte has changed, if finding out takes asking."""
        if self._tos is not None and self._tos.asks and (new := self._tos.ask()) is not None:
            self._changed(new)

    def release(self) -> None:
        """Let segments with a changed byte through."""
        if self._tos is not None:
            self._tos.release()

    def close(self) -> None:
        for watch in (self._tos, self._keepalive):
            if watch is not None:
                watch.close()
        self._tos = self._keepalive = None


def own_tos(sock: socket.socket) -> int:
    """The TOS byte that our own segments, the SYN among them, carry on this socket."""
    try:
        return sock.getsockopt(socket.IPPROTO_IP, socket.IP_TOS)
    except OSError:
        return 0  # an IPv6 socket
