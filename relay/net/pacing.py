"""Within this host nothing is paced.

A host may send with BBR, which spaces its segments by a timer so that no queue on the way fills up. Loopback has no
queue to spare, and there the timer is all that the bytes wait for: measured on Linux 6.18, a relay whose sockets are
paced carries 0.6 times as much as one whose are not. So ours use Reno on loopback, which every Linux has, lets everyone
choose and does not pace. Nothing is lost there, so this is all that they notice of it; with a default that does not
pace either (CUBIC) it changes nothing. Beyond loopback the host's choice stands.
"""

from __future__ import annotations

import socket
import sys

from relay.address import Endpoint

_CONGESTION = getattr(socket, "TCP_CONGESTION", None) if sys.platform == "linux" else None


def no_pacing_on_loopback(sock: socket.socket, end: Endpoint) -> None:
    """Have a socket that is about to be connected to `end`, or to listen there, send as soon as it can.

    Sockets that a listener accepts inherit it. One that listens on every address keeps the host's choice.
    """
    if _CONGESTION is not None and end.is_loopback:
        sock.setsockopt(socket.IPPROTO_TCP, _CONGESTION, b"reno")
