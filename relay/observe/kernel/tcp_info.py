"""TCP_INFO: what the kernel counts on a TCP socket (Linux, include/uapi/linux/tcp.h)."""

from __future__ import annotations

import socket
import struct

READ_BYTES = 160  # of struct tcp_info: up to data_segs_in and data_segs_out, Linux 4.6
_TCP_INFO = 11
_BYTES_RECEIVED_AT = 128  # u64
_SEGS_IN_AT = 140  # u32
_U64, _U32 = struct.Struct("=Q"), struct.Struct("=I")


def tcp_info(sock: socket.socket, size_bytes: int = READ_BYTES) -> bytes:
    """Return the beginning of the socket's struct tcp_info, as much as this kernel has of it.

    Raises:
        OSError: the socket is closed, or no TCP socket.
    """
    return sock.getsockopt(socket.IPPROTO_TCP, _TCP_INFO, size_bytes)


def received_bytes(sock: socket.socket) -> int:
    """Return how far the peer's sequence numbers have come since its SYN: a byte each, and its FIN one.

    Raises:
        OSError: the socket is closed.
    """
    count: int = _U64.unpack_from(tcp_info(sock), _BYTES_RECEIVED_AT)[0]
    return count


def received_segments(sock: socket.socket) -> int:
    """Return how many segments have come from the peer, those without bytes included.

    Raises:
        OSError: the socket is closed.
    """
    count: int = _U32.unpack_from(tcp_info(sock), _SEGS_IN_AT)[0]
    return count
