"""Which destinations have refused an unconnected UDP socket's datagrams, with ICMP port unreachable.

Linux keeps such errors in a queue, with what was sent and where to (ip(7), IP_RECVERR). Other systems tell them to
connected sockets only, and a socket that many destinations are sent from has none of these.
"""

from __future__ import annotations

import socket
import struct
import sys
from collections.abc import Iterator
from typing import NamedTuple

_IP_RECVERR = 11  # linux/in.h
_MSG_ERRQUEUE = 0x2000
_EXTENDED_ERROR = struct.Struct("=IBBBxII")  # linux/errqueue.h: struct sock_extended_err
_ORIGIN_ICMP = 2
_UNREACHABLE, _PORT = 3, 3  # RFC 792
_DATA_BYTES, _NOTES_BYTES = 0xFFFF, 512


class Refusal(NamedTuple):
    """A destination that has no such port, and how long the datagram was, as far as it was quoted."""

    host: str
    port: int
    size_bytes: int


def keep_refusals(sock: socket.socket) -> bool:
    """Have a socket keep them; returns whether this host can."""
    if sys.platform != "linux":
        return False
    sock.setsockopt(socket.IPPROTO_IP, _IP_RECVERR, 1)
    return True


def take_refusals(sock: socket.socket) -> Iterator[Refusal]:
    """Take those out that a socket has kept."""
    while True:
        try:
            data, notes, _, address = sock.recvmsg(_DATA_BYTES, _NOTES_BYTES, _MSG_ERRQUEUE)
        except OSError:
            return
        for level, kind, note in notes:
            if (level, kind) == (socket.IPPROTO_IP, _IP_RECVERR) and address:
                _, origin, icmp_type, code, _, _ = _EXTENDED_ERROR.unpack_from(note)
                if (origin, icmp_type, code) == (_ORIGIN_ICMP, _UNREACHABLE, _PORT):
                    yield Refusal(address[0], address[1], len(data))
