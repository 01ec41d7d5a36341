"""A TUN or TAP device (Linux, Documentation/networking/tuntap.rst): each read and write is an IP packet or a frame.

What the kernel sends out on the device is what the link receives, and the other way round. A device that was made by
its opening exists for as long as its descriptor is open; one that was made before stays.
"""

from __future__ import annotations

import os
import struct
import sys

from relay.wire.link._device import DeviceLink, Reopen

if sys.platform != "win32":
    import fcntl

DEVICE = "/dev/net/tun"
_TUNSETIFF, _TUNSETOFFLOAD = 0x400454CA, 0x400454D0  # linux/if_tun.h
_TUN, _TAP, _MULTI_QUEUE, _NO_PACKET_INFORMATION, _VNET_HEADERS = 0x0001, 0x0002, 0x0100, 0x1000, 0x4000
_CHECKSUM, _TSO4 = 0x01, 0x02
_IFREQ = struct.Struct("16sH22x")


class TunLink(DeviceLink):
    """A link over the open descriptor of a TUN or, with `ethernet`, TAP device; it owns the descriptor.

    While the device is down, sending loses everything, and nothing arrives.
    """

    def __init__(
        self,
        descriptor: int,
        name: str,
        mtu: int = 1500,
        *,
        ethernet: bool = False,
        offload: bool = False,
        reopen: Reopen | None = None,
    ) -> None:
        super().__init__(
            descriptor, f"tun:{name}", mtu, ethernet=ethernet, headers=offload, offload=offload, reopen=reopen
        )


def open_tun(name: str, *, ethernet: bool = False, offload: bool = False, queues: bool = False) -> int:
    """Open a TUN or, with `ethernet`, TAP device by its name, and make it if it does not exist; returns its descriptor.

    `queues` says that the device was made for several programs, of which this is to be one.

    Raises:
        OSError: the host has no such devices (ENOENT, ENODEV), or this process may not use them (EACCES, EPERM), or the
            device is open elsewhere (EBUSY), or it is of the other kind, or no TUN or TAP at all (EINVAL).
    """
    flags = (_TAP if ethernet else _TUN) | _NO_PACKET_INFORMATION
    flags |= (_VNET_HEADERS if offload else 0) | (_MULTI_QUEUE if queues else 0)
    descriptor = os.open(DEVICE, os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        fcntl.ioctl(descriptor, _TUNSETIFF, _IFREQ.pack(name.encode(), flags))
        fcntl.ioctl(descriptor, _TUNSETOFFLOAD, _CHECKSUM | _TSO4 if offload else 0)
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor
