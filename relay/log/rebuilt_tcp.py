"""TCP connections that were not captured, as packets: made of what is known of them, and of zeros.

A capture of the relay's own connections needs a privilege, and other programs' packets pass through it. What the relay
itself did with a socket, and saw of it, is enough for the packets that mark a connection's course. Sequence numbers
begin at 0 and count every byte, also those that are left out; windows, acknowledgements without data, segment borders
and retransmissions are the kernel's, and not known here.
"""

from __future__ import annotations

import struct

from relay.address import Endpoint
from relay.log.pcapng import Buffer
from relay.log.rebuilt_ip import TCP, addresses_of, checksum, ip_header, pseudo_header

FIN, SYN, RST, PSH, ACK = 1, 2, 4, 8, 16
MOST_BYTES = 1460
"""That one segment has; of a longer run of bytes only the end is shown."""

_TCP = struct.Struct(">HHIIBBHHH")
_WINDOW = 0xFFFF


class RebuiltTcp:
    """One connection. `inner` is the end toward the app, `outer` the one toward the server."""

    def __init__(self, inner: Endpoint, outer: Endpoint) -> None:
        # By the direction that leads there: `outward` or not.
        self._ports = (inner.port, outer.port)
        self._addresses = addresses_of(inner, outer)
        # By the direction that they have.
        self._next = [0, 0]
        self._began = [False, False]

    def segment(
        self,
        outward: bool,
        flags: int,
        payload: Buffer = b"",
        *,
        missing_bytes: int = 0,
        back_bytes: int = 0,
        tos: int = 0,
    ) -> tuple[list[Buffer], int]:
        """The next segment: the parts that are known, and how many bytes are missing at its end.

        `missing_bytes` were sent, and are not known; there is a `payload` or there are those. `back_bytes` before what
        is next in order it begins, as a keepalive probe does.
        """
        if self._began[not outward]:
            flags |= ACK
        skipped = max(0, missing_bytes - MOST_BYTES)
        seq = self._next[outward] + skipped - back_bytes
        shown_missing = missing_bytes - skipped
        header = _TCP.pack(
            self._ports[not outward],
            self._ports[outward],
            seq & 0xFFFFFFFF,
            self._next[not outward] & 0xFFFFFFFF if flags & ACK else 0,
            _TCP.size << 2,
            flags,
            _WINDOW,
            0,
            0,
        )
        source, destination = self._addresses[not outward], self._addresses[outward]
        length = len(header) + len(payload) + shown_missing
        if not shown_missing:
            pseudo = pseudo_header(source, destination, TCP, length)
            header = header[:16] + checksum(pseudo + header + bytes(payload)) + header[18:]
        self._began[outward] = True
        self._next[outward] += missing_bytes + len(payload) + (flags & SYN > 0) + (flags & FIN > 0)
        return [ip_header(source, destination, TCP, length, tos), header, payload], shown_missing
