"""The host's side of what is no flow: datagrams, echoes and questions to name servers, as the sockets saw them.

Each packet is rebuilt from what passed through a socket, so its content is whole; what lies below, a TTL or the borders
of segments, is the kernel's and not known.
"""

from __future__ import annotations

from collections.abc import Callable

from relay.address import Endpoint
from relay.legs import Process
from relay.log.capture import AddPacket
from relay.log.rebuilt_ip import TCP, datagram
from relay.log.rebuilt_tcp import ACK, FIN, MOST_BYTES, PSH, SYN, RebuiltTcp
from relay.wire.mappings import End
from relay.wire.packet import Buffer

_MOST_ENDS = 65_536  # that are remembered


class CapturedSockets:
    """Adds their packets, and knows whose each end of the guest's is; see `relay.wire.host.view.HostTap`."""

    def __init__(self, add_packet: AddPacket, now_s: Callable[[], float]) -> None:
        self._add_packet = add_packet
        self._now_s = now_s
        self._owners: dict[tuple[int, End], Process | None] = {}

    def own(self, protocol: int, end: End, process: Process | None) -> None:
        """A guest's end is this process's from now on."""
        if self._owners.pop((protocol, end), None) is None and len(self._owners) >= _MOST_ENDS:
            del self._owners[next(iter(self._owners))]
        self._owners[protocol, end] = process

    def owner_of(self, protocol: int, end: End) -> Process | None:
        """Whose it is; None if that is not known."""
        return self._owners.get((protocol, end))

    def on_datagram(
        self, protocol: int, end: End, near: Endpoint, far: Endpoint, message: bytes, outward: bool
    ) -> None:
        """A socket has sent, or received, for this end."""
        ends = (near, far) if outward else (far, near)
        parts = datagram(protocol, *ends, message)
        self._add_packet(parts, self._now_s(), outward, "", self.owner_of(protocol, end))

    def open_stream(self, end: End, near: Endpoint, far: Endpoint) -> CapturedStream:
        """A socket is connected on behalf of this end of a TCP connection."""
        return CapturedStream(self._add_packet, self._now_s, near, far, self.owner_of(TCP, end))


class CapturedStream:
    """One TCP connection of the host's; see `relay.wire.host.view.ShownStream`."""

    def __init__(
        self,
        add_packet: AddPacket,
        now_s: Callable[[], float],
        near: Endpoint,
        far: Endpoint,
        process: Process | None,
    ) -> None:
        self._add_packet = add_packet
        self._now_s = now_s
        self._process = process
        self._tcp = RebuiltTcp(near, far)
        for outward, flags in ((True, SYN), (False, SYN), (True, ACK)):
            self._add(outward, flags)

    def carry(self, data: Buffer, outward: bool) -> None:
        """These bytes passed."""
        for at in range(0, len(data), MOST_BYTES):
            self._add(outward, PSH, bytes(data[at : at + MOST_BYTES]))

    def finish(self, outward: bool) -> None:
        """A FIN passed."""
        self._add(outward, FIN)

    def _add(self, outward: bool, flags: int, payload: bytes = b"") -> None:
        parts, _ = self._tcp.segment(outward, flags, payload)
        self._add_packet(parts, self._now_s(), outward, "", self._process)
