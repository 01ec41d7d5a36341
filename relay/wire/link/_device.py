"""A link over a descriptor of which each read and each write is one datagram: a TUN or TAP device, a packet socket."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence

from relay.wire.descriptor import Descriptor
from relay.wire.link import offload as vnet
from relay.wire.link._api import Timer, Watching
from relay.wire.packet import Buffer

ETHERNET_HEADER_BYTES = 14
_MAX_BYTES = ETHERNET_HEADER_BYTES + 65535
_REOPEN_S = 1.0

Reopen = Callable[[], int]
"""Opens the device again and returns its descriptor. It raises OSError."""


class DeviceLink:
    """Owns the descriptor.

    With `headers` each datagram has a virtio header in front, and `offload` says whether the far side takes what needs
    one. When the device is gone, `reopen` is tried every second, if there is one.
    """

    def __init__(
        self,
        descriptor: int,
        name: str,
        mtu: int,
        *,
        ethernet: bool,
        headers: bool = False,
        offload: bool = False,
        reopen: Reopen | None = None,
    ) -> None:
        self.name = name
        self.mtu = mtu
        self.ethernet = ethernet
        self.offload = offload
        self.vouched = False
        self.dropped = 0
        self._device = Descriptor(descriptor)
        self._ip_at = ETHERNET_HEADER_BYTES if ethernet else 0
        self._buffer = memoryview(bytearray(_MAX_BYTES))
        self._header = bytearray(vnet.HEADER_BYTES if headers else 0)
        self._into = (self._header, self._buffer) if headers else (self._buffer,)
        self._reopen = reopen
        self._retry: Timer | None = None
        self._stop: Callable[[], None] | None = None
        os.set_blocking(descriptor, False)

    def fileno(self) -> int:
        return self._device.fileno()

    def watch(self, engine: Watching, on_readable: Callable[[], None]) -> None:
        self._engine = engine
        self._on_readable = on_readable
        self._stop = engine.watch_readable(self._device, on_readable)

    def receive(self) -> memoryview | None:
        try:
            count = os.readv(self._device.fileno(), self._into)
        except BlockingIOError:
            return None
        except OSError:  # the device is gone (EBADFD, ENETDOWN), or down (ENETDOWN)
            self._lose()
            return None
        if not self._header:
            return self._buffer[:count]
        datagram = self._buffer[: max(count - vnet.HEADER_BYTES, 0)]
        self.vouched = vnet.take_in(self._header, datagram)
        return datagram

    def send(self, parts: Sequence[Buffer], segment_bytes: int | None = None) -> bool:
        if self._header:
            header = vnet.PLAIN
            if segment_bytes is not None:
                length = sum(map(len, parts))
                payload_bytes = len(parts[-1])
                cut = segment_bytes if payload_bytes > segment_bytes else 0
                header = vnet.for_segment(self._ip_at, length - payload_bytes, cut)
            parts = (header, *parts)
        try:
            os.writev(self._device.fileno(), parts)
        except OSError:  # no room now (EAGAIN, ENOBUFS), or the device is down or gone
            self.dropped += 1
            return False
        return True

    def close(self) -> None:
        self._reopen = None
        if self._retry is not None:
            self._retry.cancel()
        self._close_device()

    def _lose(self) -> None:
        if self._reopen is not None and self._stop is not None and self._retry is None:
            self._close_device()
            self._retry = self._engine.call_later(_REOPEN_S, self._try_again)

    def _try_again(self) -> None:
        assert self._reopen is not None  # noqa: S101 - it has lost one
        self._retry = None
        try:
            self._device = Descriptor(self._reopen())
        except OSError:
            self._retry = self._engine.call_later(_REOPEN_S, self._try_again)
        else:
            self._stop = self._engine.watch_readable(self._device, self._on_readable)

    def _close_device(self) -> None:
        if self._stop is not None:
            self._stop()
            self._stop = None
        self._device.close()
