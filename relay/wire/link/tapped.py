"""A link of IP packets that is listened in on: what passes is shown to a tap, whole and as it is on the wire.

Where a kernel completes a TCP checksum, or would have had to, the tap is shown the complete one.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

from relay.wire.link._api import Link, Watching
from relay.wire.packet import TCP, TCP_HEADER_BYTES, Buffer, checksum, is_sound, parse_ipv4

_CHECKSUM = slice(16, 18)  # of a TCP header


class LinkTap(Protocol):
    """Is shown what passes."""

    def begin(self, engine: Watching) -> None:
        """The link begins to be used."""

    def on_packet(self, packet: bytes, outward: bool) -> None:
        """A packet passed; `outward` from the guest."""


class TappedLink:
    """The same link as the one that it is made of, with a tap; see `relay.wire.link.Link`."""

    ethernet = False

    def __init__(self, link: Link, tap: LinkTap) -> None:
        self.name = link.name
        self.mtu = link.mtu
        self.offload = link.offload
        self._link = link
        self._tap = tap

    @property
    def vouched(self) -> bool:
        return self._link.vouched

    @property
    def dropped(self) -> int:
        return self._link.dropped

    def watch(self, engine: Watching, on_readable: Callable[[], None]) -> None:
        self._tap.begin(engine)
        self._link.watch(engine, on_readable)

    def receive(self) -> memoryview | None:
        packet = self._link.receive()
        if packet is not None:
            whole = bytes(packet)
            self._tap.on_packet(self._completed(whole) if self._link.vouched else whole, True)
        return packet

    def send(self, parts: Sequence[Buffer], segment_bytes: int | None = None) -> bool:
        sent = self._link.send(parts, segment_bytes)
        if sent:
            whole = b"".join(parts)
            self._tap.on_packet(whole if segment_bytes is None else self._completed(whole), False)
        return sent

    def close(self) -> None:
        self._link.close()

    def _completed(self, whole: bytes) -> bytes:
        """With a complete checksum, if it has a partial one: the sum of what is not in the segment itself."""
        ip = parse_ipv4(memoryview(whole))
        if ip is None or ip.protocol != TCP or len(ip.payload) < TCP_HEADER_BYTES or is_sound(ip):
            return whole
        at = (whole[0] & 0x0F) * 4
        value = checksum(ip.payload).to_bytes(2)
        return whole[: at + _CHECKSUM.start] + value + whole[at + _CHECKSUM.stop :]
