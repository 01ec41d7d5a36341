"""The two ends of a connected TCP socket, as its packets carry them.

An IPv4 connection on a dual-stack socket has addresses like ::ffff:127.0.0.1; on the wire it is IPv4, and here as well.
"""

from __future__ import annotations

import socket
import struct
from typing import NamedTuple

_MAPPED = "::ffff:"


class Ends(NamedTuple):
    """Our address and port, and the peer's."""

    local: tuple[str, int]
    peer: tuple[str, int]

    @property
    def is_ipv4(self) -> bool:
        return ":" not in self.peer[0]

    @property
    def key(self) -> bytes:
        """What the peer's packets carry, as they carry it: source and destination address, then the ports.

        Only for IPv4.
        """
        addresses = socket.inet_aton(self.peer[0]) + socket.inet_aton(self.local[0])
        return addresses + struct.pack("!HH", self.peer[1], self.local[1])


def ends_of(sock: socket.socket) -> Ends | None:
    """Return the ends of a TCP socket, or None if it is not connected (any more)."""
    try:
        return Ends(_plain(sock.getsockname()), _plain(sock.getpeername()))
    except OSError:
        return None


def _plain(address: tuple[str, int]) -> tuple[str, int]:
    host = address[0]
    if host.startswith(_MAPPED) and "." in host:
        host = host.removeprefix(_MAPPED)
    return host.partition("%")[0], address[1]
