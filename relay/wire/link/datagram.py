"""A frame a datagram: vfkit's `unixgram` (krunkit, Lima, podman), VirtualBox's UDPTunnel, QEMU's `-netdev dgram`.

The guest is the first sender of a datagram, or the peer that was given. No other sender's datagrams are taken, until
sending to the guest fails because it is gone (of UDP the kernel does not say so), or it has been silent for half a
minute: then the next sender is the guest. Older vfkits begin with a datagram of the four bytes `VFKT`, which is no
frame.
"""

from __future__ import annotations

import errno
import socket
from collections.abc import Callable, Sequence
from typing import Any

from relay.clock import real_s
from relay.wire.frame import HEADER_BYTES
from relay.wire.link._api import Watching
from relay.wire.packet import Buffer

_GREETING = b"VFKT"
_LONGEST_BYTES = HEADER_BYTES + 65535
_SEND_BUFFER_BYTES, _RECEIVE_BUFFER_BYTES = 1 << 20, 4 << 20  # as gvisor-tap-vsock has them
_SILENT_S = 30.0
_FULL = frozenset({errno.EAGAIN, errno.EWOULDBLOCK, errno.ENOBUFS, errno.EMSGSIZE, errno.EINTR})


class DatagramLink:
    """A link over a bound socket, which it owns. With `peer` no other address is ever the guest's."""

    ethernet = True
    offload = False
    vouched = False

    def __init__(
        self,
        name: str,
        sock: socket.socket,
        *,
        peer: Any = None,
        mtu: int = 1500,
        now_s: Callable[[], float] = real_s,
        on_close: Callable[[], None] = lambda: None,
    ) -> None:
        self.name = name
        self.mtu = mtu
        self.dropped = 0
        self._socket = sock
        self._given = peer
        self._peer = peer
        self._heard_s = 0.0
        self._now_s = now_s
        self._on_close = on_close
        self._buffer = memoryview(bytearray(_LONGEST_BYTES))
        self._stop: Callable[[], None] | None = None
        self._is_closed = False
        sock.setblocking(False)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _SEND_BUFFER_BYTES)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _RECEIVE_BUFFER_BYTES)

    def fileno(self) -> int:
        return self._socket.fileno()

    def watch(self, engine: Watching, on_readable: Callable[[], None]) -> None:
        self._stop = engine.watch_readable(self._socket, on_readable)

    def receive(self) -> memoryview | None:
        while True:
            try:
                count, sender = self._socket.recvfrom_into(self._buffer)
            except (BlockingIOError, InterruptedError):
                return None
            except OSError:  # what was sent has met no listener; Windows and Linux say so here
                if self._is_closed:
                    return None
                continue
            if self._is_guest(sender) and self._buffer[:count] != _GREETING:
                return self._buffer[:count]

    def send(self, parts: Sequence[Buffer], segment_bytes: int | None = None) -> bool:
        if self._peer is None:
            self.dropped += 1
            return False
        try:
            self._socket.sendto(b"".join(parts), self._peer)
        except OSError as error:
            self.dropped += 1
            if error.errno not in _FULL:
                self._peer = self._given  # it is gone; the next to send is the guest
            return False
        return True

    def close(self) -> None:
        if not self._is_closed:
            self._is_closed = True
            if self._stop is not None:
                self._stop()
            self._socket.close()
            self._on_close()

    def _is_guest(self, sender: Any) -> bool:
        """Whether a datagram from there is the guest's. One without an address cannot be answered, but is heard."""
        if not sender:
            return self._peer is None
        now_s = self._now_s()
        if sender != self._peer:
            if self._given is not None or (self._peer is not None and now_s - self._heard_s < _SILENT_S):
                return False
            self._peer = sender
        self._heard_s = now_s
        return True
