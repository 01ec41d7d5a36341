"""What is known of the SYN that opened an accepted connection.

`TCP_SAVE_SYN` on the listener has the kernel keep the headers of each SYN, `TCP_SAVED_SYN` on the accepted socket hands
them out, once. Linux 4.3 and later, without privilege.

A SYN that was answered with a SYN cookie is not kept: the kernel forgets it by design (`net.ipv4.tcp_syncookies`; with
1, the default, only while the queue of half-open connections is full). Then the ACK that completed the handshake stands
for it: the kernel keeps that segment's TOS byte for `IP_PKTOPTIONS`. A peer that changes its byte between the two is
taken to have had the second from the start; a change after that is one in any case.
"""

from __future__ import annotations

import socket
import struct
import sys
from typing import NamedTuple

from relay.observe.kernel.ends import ends_of

_TCP_SAVE_SYN = 27  # linux/tcp.h
_TCP_SAVED_SYN = 28
_HEADERS_BYTES = 256  # at most 60 of IPv4 and 60 of TCP; a smaller buffer is EINVAL, and the SYN is kept
_SEQUENCE_AT = 4  # in the TCP header
_IP_PKTOPTIONS = 9  # linux/in.h
_IP_RECVTOS = 13
_OPTIONS_BYTES = 64  # struct cmsghdr, twice over
_TOS_OPTION = struct.Struct("@Niii")  # struct cmsghdr: length, level, type; then the byte, as an int


class Syn(NamedTuple):
    """The SYN that opened a connection."""

    tos: int | None
    """Its TOS byte (IPv6: the traffic class). If it was not kept, that of the segment behind it, if that is known."""
    isn: int | None = None
    """Its sequence number, which tells its connection from others between the same ends; over IPv4, if it was kept."""
    kept: bool = True


def save_syn(listener: socket.socket) -> bool:
    """Have the SYNs of connections to `listener` kept; before `listen` or after, for those yet to come."""
    if sys.platform != "linux":
        return False
    try:
        listener.setsockopt(socket.IPPROTO_TCP, _TCP_SAVE_SYN, 1)
    except OSError:
        return False
    return True


def syn_of(accepted: socket.socket) -> Syn:
    """Return what is known of the SYN that opened this connection.

    The kernel forgets the SYN when it is asked for: at the second call for the same socket it was not kept.
    """
    if sys.platform != "linux":
        return Syn(None, kept=False)
    headers = saved_syn(accepted)
    tos = tos_of_syn(headers)
    return Syn(tos, isn_of_syn(headers)) if tos is not None else Syn(_handshake_tos(accepted), kept=False)


def saved_syn(accepted: socket.socket) -> bytes:
    """Return the headers of the SYN, from that of IP on, and have the kernel forget them; nothing if it kept none."""
    if sys.platform != "linux":
        return b""
    try:
        return accepted.getsockopt(socket.IPPROTO_TCP, _TCP_SAVED_SYN, _HEADERS_BYTES)
    except OSError:
        return b""


def tos_of_syn(headers: bytes) -> int | None:
    """Return the TOS byte (IPv6: the traffic class) in these headers; None if they are cut off before it."""
    if len(headers) < 2:
        return None
    version = headers[0] >> 4
    return headers[1] if version == 4 else (headers[0] & 0x0F) << 4 | headers[1] >> 4


def isn_of_syn(headers: bytes) -> int | None:
    """Return the sequence number in these headers; None if they are cut off before it, or not of IPv4."""
    at = (headers[0] & 0x0F) * 4 + _SEQUENCE_AT
    if headers[0] >> 4 != 4 or len(headers) < at + 4:
        return None
    return int.from_bytes(headers[at : at + 4], "big")


def _handshake_tos(accepted: socket.socket) -> int | None:
    """Return the TOS byte of the segment that completed an IPv4 handshake; None if the kernel does not tell."""
    ends = ends_of(accepted)
    if ends is None or not ends.is_ipv4:
        return None
    try:
        accepted.setsockopt(socket.IPPROTO_IP, _IP_RECVTOS, 1)
        options = accepted.getsockopt(socket.IPPROTO_IP, _IP_PKTOPTIONS, _OPTIONS_BYTES)
        accepted.setsockopt(socket.IPPROTO_IP, _IP_RECVTOS, 0)
    except OSError:
        return None
    return tos_of_options(options)


def tos_of_options(options: bytes) -> int | None:
    """Return the TOS byte in the control messages of `IP_PKTOPTIONS`, asked for it alone; None if they lack it."""
    if len(options) < _TOS_OPTION.size:
        return None
    _, level, kind, tos = _TOS_OPTION.unpack_from(options)
    return tos & 0xFF if (level, kind) == (socket.IPPROTO_IP, socket.IP_TOS) else None
