"""The TOS byte of the SYN that opened an accepted connection.

`TCP_SAVE_SYN` on the listener has the kernel keep the headers of each SYN, `TCP_SAVED_SYN` on the accepted socket hands
them out, once. Linux 4.3 and later, without privilege.
"""

from __future__ import annotations

import socket
import sys

_TCP_SAVE_SYN = 27  # linux/tcp.h
_TCP_SAVED_SYN = 28
_HEADERS_BYTES = 256  # at most 60 of IPv4 and 60 of TCP; a smaller buffer is EINVAL, and the SYN is kept


def save_syn(listener: socket.socket) -> bool:
    """Have the SYNs of connections to `listener` kept; before `listen` or after, for those yet to come."""
    if sys.platform != "linux":
        return False
    try:
        listener.setsockopt(socket.IPPROTO_TCP, _TCP_SAVE_SYN, 1)
    except OSError:
        return False
    return True


def syn_tos(accepted: socket.socket) -> int | None:
    """Return the TOS byte (IPv6: the traffic class) of the SYN that opened this connection; None if it was not kept.

    The kernel forgets the SYN when it is asked for: the second call for the same socket gives None.
    """
    if sys.platform != "linux":
        return None
    try:
        headers = accepted.getsockopt(socket.IPPROTO_TCP, _TCP_SAVED_SYN, _HEADERS_BYTES)
    except OSError:
        return None
    return tos_of_syn(headers)


def tos_of_syn(headers: bytes) -> int | None:
    """Return the TOS byte (IPv6: the traffic class) in these headers; None if they are cut off before it."""
    if len(headers) < 2:
        return None
    version = headers[0] >> 4
    return headers[1] if version == 4 else (headers[0] & 0x0F) << 4 | headers[1] >> 4
