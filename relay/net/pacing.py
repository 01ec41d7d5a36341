"""Turns off the pacing of segments within this host.

A host may send with BBR, which spaces its segments by a timer so that no queue on the way fills up. Loopback has no
such queue, and there the timer only delays the bytes: measured on Linux 6.18, a relay with paced sockets carries 0.6
times as much as one with unpaced sockets. So our sockets use Reno on loopback: every Linux has it, any user may choose
it, and it does not pace. Loopback loses nothing, so the choice has no other effect there; where the default does not
pace either (CUBIC), it has none at all. Beyond loopback the host's choice stands.
"""

from __future__ import annotations

import socket
import sys

from relay.address import Endpoint

_CONGESTION = getattr(socket, "TCP_CONGESTION", None) if sys.platform == "linux" else None


def no_pacing_on_loopback(sock: socket.socket, end: Endpoint) -> None:
    """Make a socket that is about to be connected to `end`, or to listen there, send as soon as it can.

    Accepted sockets inherit it from their listener. A listener on every address keeps the host's choice.
    """
    if _CONGESTION is not None and end.is_loopback:
        sock.setsockopt(socket.IPPROTO_TCP, _CONGESTION, b"reno")
