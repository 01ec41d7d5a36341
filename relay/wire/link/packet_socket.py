"""An AF_PACKET socket on an Ethernet device (packet(7)): frames that arrive on it, and frames sent out of it.

What is on the device's other end is the guest: a container at the end of a veth pair, a virtual machine behind its tap.
The host's own stack sees the same frames, so the device must have no address on the host.
"""

from __future__ import annotations

import socket
import struct

from relay.wire.link._device import DeviceLink, Reopen

_ETH_P_ALL = 0x0003  # linux/if_ether.h
_SOL_PACKET = 263  # linux/socket.h
_ADD_MEMBERSHIP, _VNET_HEADER, _IGNORE_OUTGOING = 1, 15, 23  # linux/if_packet.h
_PROMISCUOUS = 1
_MEMBERSHIP = struct.Struct("=iHH8x")
_BUFFER_BYTES = 4 << 20


class PacketLink(DeviceLink):
    """A link over the descriptor of a packet socket that `open_packet_socket` made; it owns the descriptor."""

    def __init__(
        self, descriptor: int, name: str, mtu: int = 1500, *, offload: bool = False, reopen: Reopen | None = None
    ) -> None:
        super().__init__(
            descriptor, f"interface:{name}", mtu, ethernet=True, headers=True, offload=offload, reopen=reopen
        )


def open_packet_socket(device: str) -> int:
    """Open a packet socket on a device; returns its descriptor.

    Every frame has a virtio header in front: without, one could not tell a partial checksum from a wrong one.

    Raises:
        OSError: there is no such device (ENODEV), or this process lacks CAP_NET_RAW (EPERM).
    """
    family = getattr(socket, "AF_PACKET")  # noqa: B009 - only on Linux
    sock = socket.socket(family, socket.SOCK_RAW, 0)  # nothing arrives before it is bound
    try:
        sock.setsockopt(_SOL_PACKET, _VNET_HEADER, 1)
        sock.setsockopt(_SOL_PACKET, _IGNORE_OUTGOING, 1)
        for option in (socket.SO_RCVBUF, socket.SO_SNDBUF):
            sock.setsockopt(socket.SOL_SOCKET, option, _BUFFER_BYTES)
        index = socket.if_nametoindex(device)
        sock.setsockopt(_SOL_PACKET, _ADD_MEMBERSHIP, _MEMBERSHIP.pack(index, _PROMISCUOUS, 0))
        sock.bind((device, _ETH_P_ALL))
        sock.setblocking(False)
    except BaseException:
        sock.close()
        raise
    return sock.detach()
