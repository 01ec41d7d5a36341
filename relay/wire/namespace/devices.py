"""The device by which the command's network ends in the relay.

A TUN device where /dev/net/tun is open to the user. Else a pair of Ethernet devices: one for the command, and one, in a
further network namespace where the command does not see it, with a packet socket on it. That takes nothing but the
namespaces. Either is gone with its descriptor.
"""

from __future__ import annotations

import os
import socket
from contextlib import suppress
from pathlib import Path

from relay.wire.link.packet_socket import open_packet_socket
from relay.wire.link.tun import open_tun
from relay.wire.namespace import kernel
from relay.wire.namespace.netlink import Netlink

TUN, PAIR = "tun", "pair"
FAR_DEVICE = "nat0"
GUEST_MAC = bytes.fromhex("000c29c0ffee")  # VMware's prefix for what it makes up


def open_device(name: str, kinds: list[str], *, mtu: int, offload: bool) -> tuple[str, int]:
    """Make the device in this process's network, or in one that the process enters; returns its kind and descriptor.

    Raises:
        OSError: none of these kinds can be had; the error is the last one's.
    """
    for kind in kinds[:-1]:
        with suppress(OSError):
            return kind, _open(kind, name, mtu, offload)
    return kinds[-1], _open(kinds[-1], name, mtu, offload)


def set_up(netlink: Netlink, name: str, *, mtu: int, guest: int, prefix: int, broadcast: int, gateway: int) -> None:
    """Give the network its loopback, and the device its address and routes.

    Raises:
        OSError: the kernel refuses.
    """
    netlink.bring_up("lo")
    without_ipv6(name)
    netlink.bring_up(name, mtu=mtu)
    netlink.add_address(name, guest, prefix, broadcast)
    netlink.add_default_route(name, gateway)


def without_ipv6(device: str) -> None:
    """Keep a device from speaking IPv6, if the kernel speaks it and /proc/sys can be written to."""
    with suppress(OSError):
        Path(f"/proc/sys/net/ipv6/conf/{device}/disable_ipv6").write_text("1")


def _open(kind: str, name: str, mtu: int, offload: bool) -> int:
    return open_tun(name, offload=offload) if kind == TUN else _open_pair(name, mtu, offload)


def _open_pair(name: str, mtu: int, offload: bool) -> int:
    with Netlink() as netlink:
        netlink.add_pair(FAR_DEVICE, name, peers_mac=GUEST_MAC)
        if not offload:
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as any_socket:
                kernel.leave_work_undone(name, any_socket.fileno())
        without_ipv6(FAR_DEVICE)
        netlink.bring_up(FAR_DEVICE, mtu=mtu)
        descriptor = open_packet_socket(FAR_DEVICE)
        try:
            kernel.unshare(kernel.CLONE_NEWNET)
            netlink.move(name, os.getpid())
        except BaseException:
            os.close(descriptor)
            raise
    return descriptor
