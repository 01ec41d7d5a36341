"""What a capture is shown of the host's sockets: what they sent and received for the guest, and on whose behalf.

A socket knows what passed through it, and which of the host's ports it has. By which address it left is the kernel's
choice: the kernel is asked for its route. Without a tap nothing is looked up, and nothing shown.
"""

from __future__ import annotations

import socket
from contextlib import suppress
from functools import lru_cache
from typing import Protocol

from relay.address import Endpoint
from relay.legs import Process
from relay.wire.mappings import End
from relay.wire.owners import NO_OWNERS, Owners
from relay.wire.packet import TCP, Buffer

_ROUTES = 256  # that are remembered


class HostTap(Protocol):
    """Is shown it."""

    def own(self, protocol: int, end: End, process: Process | None) -> None:
        """A guest's end, of one protocol, is this process's from now on; None if that is not known."""

    def on_datagram(
        self, protocol: int, end: End, near: Endpoint, far: Endpoint, message: bytes, outward: bool
    ) -> None:
        """A socket that serves this end has sent or received a UDP payload, or an ICMP message."""

    def open_stream(self, end: End, near: Endpoint, far: Endpoint) -> ShownStream:
        """A socket that serves this end is connected."""

    def name(self, address: str, name: str) -> None:
        """The guest asked for this name, and the answer was this address."""


class ShownStream(Protocol):
    """A TCP connection of the host's that is shown."""

    def carry(self, data: Buffer, outward: bool) -> None:
        """These bytes passed."""

    def finish(self, outward: bool) -> None:
        """A FIN passed."""


class View:
    """Shows it to a tap, if there is one."""

    def __init__(self, tap: HostTap | None = None, owners: Owners = NO_OWNERS) -> None:
        """`owners` knows the guest's processes."""
        self._tap = tap
        self._owners = owners

    def begin(self, protocol: int, end: End) -> None:
        """The guest begins to use an end."""
        if self._tap is not None:
            self._tap.own(protocol, end, self._owners.glimpse_datagram(protocol, end))

    def begin_stream(self, end: End, process: Process | None) -> None:
        """The guest's TCP connection that ends in the NAT is this process's."""
        if self._tap is not None:
            self._tap.own(TCP, end, process)

    def show(self, protocol: int, end: End, sock: socket.socket, far: Endpoint, message: Buffer, outward: bool) -> None:
        """A socket has sent, or received, a UDP payload or an ICMP message."""
        if self._tap is not None:
            self._tap.on_datagram(protocol, end, _near_end(sock, far), far, bytes(message), outward)

    def open_stream(self, end: End, sock: socket.socket, far: Endpoint) -> ShownStream | None:
        """A socket is connected."""
        return self._tap.open_stream(end, _near_end(sock, far), far) if self._tap is not None else None

    def name(self, address: str, name: str) -> None:
        """An address was found under a name."""
        if self._tap is not None:
            self._tap.name(address, name)


NO_VIEW = View()


def _near_end(sock: socket.socket, far: Endpoint) -> Endpoint:
    """The socket's own end, as what it sends there has it."""
    host, port = sock.getsockname()[:2]
    near = Endpoint(host, port)
    return near if near.ip is None or not near.ip.is_unspecified else Endpoint(_source_for(far.host), port)


@lru_cache(_ROUTES)
def _source_for(host: str) -> str:
    """The address from which this host sends to another one; connecting a datagram socket sends nothing."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with suppress(OSError), socket.socket(family, socket.SOCK_DGRAM) as asking:
        asking.connect((host, 9))
        return str(asking.getsockname()[0])
    return "::" if family == socket.AF_INET6 else "0.0.0.0"
