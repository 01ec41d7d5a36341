"""A TUN device (Linux, Documentation/networking/tuntap.rst): each read and write is one IP packet.

What the kernel sends out on the device is what this link receives, and the other way round. The device exists for as
long as its descriptor is open, unless somebody made it persistent.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Callable, Sequence
from contextlib import suppress

from relay.wire.link._api import Watching
from relay.wire.packet import Buffer

DEVICE = "/dev/net/tun"
_MAX_BYTES = 65535  # of an IP packet
_TUNSETIFF = 0x400454CA  # linux/if_tun.h
_IFF_TUN, _IFF_NO_PI = 0x0001, 0x1000
_IFREQ = struct.Struct("16sH22x")


class TunLink:
    """A link over the open descriptor of a TUN device; it owns the descriptor.

    As long as the device is down, sending loses everything, and nothing arrives.
    """

    ethernet = False

    def __init__(self, descriptor: int, name: str, mtu: int = 1500) -> None:
        self.name = f"tun:{name}"
        self.mtu = mtu
        self.dropped = 0
        self._descriptor = descriptor
        self._buffer = memoryview(bytearray(_MAX_BYTES))
        self._stop: Callable[[], None] | None = None
        os.set_blocking(descriptor, False)

    def fileno(self) -> int:
        return self._descriptor

    def watch(self, engine: Watching, on_readable: Callable[[], None]) -> None:
        self._stop = engine.watch_readable(self, on_readable)

    def receive(self) -> memoryview | None:
        try:
            count = os.readv(self._descriptor, (self._buffer,))
        except OSError:  # nothing is there (EAGAIN), or the device is gone (EBADFD)
            return None
        return self._buffer[:count]

    def send(self, parts: Sequence[Buffer]) -> bool:
        try:
            os.writev(self._descriptor, parts)
        except OSError:
            self.dropped += 1
            return False
        return True

    def close(self) -> None:
        if self._descriptor >= 0:
            if self._stop is not None:
                self._stop()
            with suppress(OSError):
                os.close(self._descriptor)
            self._descriptor = -1


def open_tun(name: str) -> int:
    """Open a TUN device by its name, and make it if it does not exist; returns its descriptor.

    Raises:
        OSError: the host has no TUN devices (ENOENT, ENODEV), or this process may not use them (EACCES, EPERM), or the
            device is another program's (EBUSY) or a TAP (EINVAL).
    """
    import fcntl  # noqa: PLC0415 - not on Windows

    descriptor = os.open(DEVICE, os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        fcntl.ioctl(descriptor, _TUNSETIFF, _IFREQ.pack(name.encode(), _IFF_TUN | _IFF_NO_PI))
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor
