"""NETLINK_ROUTE (rtnetlink(7)): set up interfaces, addresses and routes of a network namespace."""

from __future__ import annotations

import os
import socket
import struct
from types import TracebackType

_NETLINK_ROUTE = 0  # linux/netlink.h
_NLM_F_REQUEST, _NLM_F_ACK, _NLM_F_EXCL, _NLM_F_CREATE = 1, 4, 0x200, 0x400
_NLMSG_ERROR = 2
_RTM_NEWLINK, _RTM_NEWADDR, _RTM_NEWROUTE = 16, 20, 24  # linux/rtnetlink.h
_IFLA_ADDRESS, _IFLA_IFNAME, _IFLA_MTU, _IFLA_LINKINFO, _IFLA_NET_NS_PID = 1, 3, 4, 18, 19  # linux/if_link.h
_INFO_KIND, _INFO_DATA, _VETH_PEER = 1, 2, 1
_IFA_ADDRESS, _IFA_LOCAL, _IFA_BROADCAST = 1, 2, 4  # linux/if_addr.h
_RTA_OIF, _RTA_GATEWAY = 4, 5
_RT_TABLE_MAIN, _RTPROT_BOOT, _RT_SCOPE_UNIVERSE, _RTN_UNICAST = 254, 3, 0, 1
_IFF_UP = 1
_REPLY_BYTES = 65536

_HEADER = struct.Struct("=IHHII")  # struct nlmsghdr: length, type, flags, sequence, port
_LINK = struct.Struct("=BxHiII")  # struct ifinfomsg: family, type, index, flags, change
_ADDRESS = struct.Struct("=BBBBi")  # struct ifaddrmsg: family, prefix, flags, scope, index
_ROUTE = struct.Struct("=BBBBBBBBI")  # struct rtmsg: family, two prefixes, tos, table, protocol, scope, type, flags
_ANY_LINK = _LINK.pack(0, 0, 0, 0, 0)


class Netlink:
    """A socket to configure a network with: that of the namespace in which it was opened, also from another.

    Every method raises OSError where the kernel refuses.
    """

    def __init__(self) -> None:
        family = getattr(socket, "AF_NETLINK")  # noqa: B009 - only on Linux
        self._socket = socket.socket(family, socket.SOCK_RAW, _NETLINK_ROUTE)
        self._sequence = 0

    def __enter__(self) -> Netlink:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._socket.close()

    def bring_up(self, device: str, *, mtu: int | None = None) -> None:
        """Bring a device up, with this MTU in bytes if one is given."""
        attributes = _name(device)
        if mtu is not None:
            attributes += _attribute(_IFLA_MTU, struct.pack("=I", mtu))
        self._ask(_RTM_NEWLINK, 0, _LINK.pack(0, 0, 0, _IFF_UP, _IFF_UP) + attributes)

    def add_pair(self, name: str, peer: str, *, peers_mac: bytes) -> None:
        """Make two Ethernet devices that are connected to each other (veth)."""
        other = _attribute(_VETH_PEER, _ANY_LINK + _name(peer) + _attribute(_IFLA_ADDRESS, peers_mac))
        info = _attribute(_INFO_KIND, b"veth") + _attribute(_INFO_DATA, other)
        self._ask(_RTM_NEWLINK, _NLM_F_CREATE | _NLM_F_EXCL, _ANY_LINK + _name(name) + _attribute(_IFLA_LINKINFO, info))

    def move(self, device: str, process: int) -> None:
        """Move a device into the network namespace of a process."""
        self._ask(_RTM_NEWLINK, 0, _ANY_LINK + _name(device) + _attribute(_IFLA_NET_NS_PID, struct.pack("=I", process)))

    def add_address(self, device: str, address: int, prefix: int, broadcast: int) -> None:
        """Give a device an IPv4 address; the route to its network comes with it."""
        attributes = b"".join(
            _attribute(kind, value.to_bytes(4))
            for kind, value in ((_IFA_LOCAL, address), (_IFA_ADDRESS, address), (_IFA_BROADCAST, broadcast))
        )
        body = _ADDRESS.pack(socket.AF_INET, prefix, 0, 0, socket.if_nametoindex(device))
        self._ask(_RTM_NEWADDR, _NLM_F_CREATE | _NLM_F_EXCL, body + attributes)

    def add_default_route(self, device: str, gateway: int) -> None:
        """Send over this device, to this neighbour, what no other route is for."""
        index = struct.pack("=I", socket.if_nametoindex(device))
        body = _ROUTE.pack(socket.AF_INET, 0, 0, 0, _RT_TABLE_MAIN, _RTPROT_BOOT, _RT_SCOPE_UNIVERSE, _RTN_UNICAST, 0)
        attributes = _attribute(_RTA_GATEWAY, gateway.to_bytes(4)) + _attribute(_RTA_OIF, index)
        self._ask(_RTM_NEWROUTE, _NLM_F_CREATE | _NLM_F_EXCL, body + attributes)

    def _ask(self, kind: int, flags: int, body: bytes) -> None:
        self._sequence += 1
        flags |= _NLM_F_REQUEST | _NLM_F_ACK
        self._socket.send(_HEADER.pack(_HEADER.size + len(body), kind, flags, self._sequence, 0) + body)
        reply = self._socket.recv(_REPLY_BYTES)
        if _HEADER.unpack_from(reply)[1] == _NLMSG_ERROR:
            number = -struct.unpack_from("=i", reply, _HEADER.size)[0]
            if number:
                raise OSError(number, os.strerror(number))


def _name(device: str) -> bytes:
    return _attribute(_IFLA_IFNAME, device.encode() + b"\0")


def _attribute(kind: int, value: bytes) -> bytes:
    length = 4 + len(value)
    return struct.pack("=HH", length, kind) + value + bytes(-length % 4)
