"""Opens a device of this host's that its user has made: a TUN or TAP device, or any Ethernet device (Linux)."""

from __future__ import annotations

import errno
import os
import socket
import struct
import sys
from functools import partial

from relay.errors import ConfigError, RelayError, Unsupported
from relay.wire.link.packet_socket import PacketLink, open_packet_socket
from relay.wire.link.tun import DEVICE, TunLink, open_tun

if sys.platform != "win32":
    import fcntl

_SIOCGIFMTU, _SIOCGIFHWADDR, _VALUE_AT = 0x8921, 0x8927, 16  # linux/sockios.h, and in struct ifreq
_ETHERNET = 1  # ARPHRD_ETHER, linux/if_arp.h
_HOW_TO_MAKE = "`ip tuntap add mode tun user $USER NAME` makes one"


def open_device(kind: str, device: str, *, offload: bool = False, where: str = "--wire") -> TunLink | PacketLink:
    """Open a device as a link; `kind` is `tun` or `interface`. If it goes and comes back, it is opened again.

    Raises:
        ConfigError: there is no such device, it is of another kind, or another program has it; naming `where`.
        Unsupported: this is not Linux, or this process may not open it.
    """
    if sys.platform != "linux":
        raise Unsupported(f"{where}: {kind}:{device}: only on Linux", hint="give qemu:HOST:PORT or udp:HOST:PORT")
    descriptor, mtu, ethernet = _open(kind, device, offload, where)
    reopen = partial(_reopen, kind, device, offload)
    if kind == "tun":
        return TunLink(descriptor, device, mtu, ethernet=ethernet, offload=offload, reopen=reopen)
    return PacketLink(descriptor, device, mtu, offload=offload, reopen=reopen)


def _open(kind: str, device: str, offload: bool, where: str) -> tuple[int, int, bool]:
    """Return the descriptor, the MTU, and whether the device carries frames."""
    try:
        mtu, ethernet = _mtu(device), _is_ethernet(device)
    except OSError:
        names = ", ".join(sorted(name for _, name in socket.if_nameindex()))
        raise ConfigError(
            f"{where}: there is no device {device!r}", hint=f"there are {names}; {_HOW_TO_MAKE}"
        ) from None
    if kind != "tun" and not ethernet:
        raise ConfigError(f"{where}: {device} is no Ethernet device", hint=f"a TUN device is tun:{device}")
    try:
        if kind != "tun":
            return open_packet_socket(device), mtu, True
        try:
            return open_tun(device, ethernet=ethernet, offload=offload), mtu, ethernet
        except OSError as error:
            if error.errno != errno.EINVAL:
                raise
            return open_tun(device, ethernet=ethernet, offload=offload, queues=True), mtu, ethernet
    except OSError as error:
        raise _refusal(kind, device, error, where) from None


def _refusal(kind: str, device: str, error: OSError, where: str) -> RelayError:
    if error.errno == errno.EBUSY:
        return ConfigError(f"{where}: {device} is in use", hint="another program has it open; end that one")
    if error.errno == errno.EINVAL:
        return ConfigError(f"{where}: {device} is no TUN or TAP device", hint=f"give interface:{device}")
    owner = f"its owner may, if {DEVICE} is open to all: `ip tuntap add ... user $USER`"
    return Unsupported(
        f"{where}: this process may not open {kind}:{device}: {os.strerror(error.errno or 0).lower()}",
        hint=f"{owner}; or use sudo" if kind == "tun" else "it takes CAP_NET_RAW: use sudo",
    )


def _reopen(kind: str, device: str, offload: bool) -> int:
    try:
        return _open(kind, device, offload, "")[0]
    except RelayError as error:
        raise OSError(errno.ENODEV, str(error)) from error


def _mtu(device: str) -> int:
    return int(struct.unpack_from("=i", _ask(_SIOCGIFMTU, device), _VALUE_AT)[0])


def _is_ethernet(device: str) -> bool:
    return bool(struct.unpack_from("=H", _ask(_SIOCGIFHWADDR, device), _VALUE_AT)[0] == _ETHERNET)


def _ask(request: int, device: str) -> bytes:
    """Ask about a device of this network namespace: /sys may show those of another."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as any_socket:
        return fcntl.ioctl(any_socket, request, struct.pack("=16s24x", device.encode()))
