"""What a capture is shown of the host's sockets, kept for a test."""

from __future__ import annotations

from relay.address import Endpoint
from relay.legs import Process
from relay.wire.host.view import View
from relay.wire.mappings import End
from relay.wire.packet import Buffer


class SeenStream:
    """A connection of the host's: what passed, `>` to the server and `<` from it."""

    def __init__(self, end: End, near: Endpoint, far: Endpoint) -> None:
        self.end, self.near, self.far = end, near, far
        self.passed: list[tuple[str, bytes]] = []

    def carry(self, data: Buffer, outward: bool) -> None:
        self.passed.append((">" if outward else "<", bytes(data)))

    def finish(self, outward: bool) -> None:
        self.passed.append((">" if outward else "<", b"FIN"))


class SeenByTap:
    """As `relay.wire.host.view.HostTap` says."""

    def __init__(self) -> None:
        self.names: list[tuple[str, str]] = []
        self.owned: list[tuple[int, End]] = []
        self.datagrams: list[tuple[int, End, str, bytes]] = []
        self.ends: list[tuple[Endpoint, Endpoint]] = []
        self.streams: list[SeenStream] = []
        self.view = View(self)

    def own(self, protocol: int, end: End, process: Process | None) -> None:
        self.owned.append((protocol, end))

    def on_datagram(
        self, protocol: int, end: End, near: Endpoint, far: Endpoint, message: bytes, outward: bool
    ) -> None:
        self.datagrams.append((protocol, end, ">" if outward else "<", message))
        self.ends.append((near, far))

    def open_stream(self, end: End, near: Endpoint, far: Endpoint) -> SeenStream:
        self.streams.append(stream := SeenStream(end, near, far))
        return stream

    def name(self, address: str, name: str) -> None:
        self.names.append((address, name))
