"""How many bytes the kernel holds for a socket, in either direction; each kernel has its own way to ask."""

from __future__ import annotations

import socket
import struct
import sys

_SIOCOUTQ = 0x5411  # Linux tcp(7): bytes sent and not acknowledged; it goes on answering after the peer's RST
_SIOCOUTQNSD = 0x894B  # Linux sockios.h: bytes not sent yet
_SO_NWRITE = 0x1024  # macOS socket.h: bytes in the send buffer

if sys.platform != "win32":
    import fcntl
    import termios


def unsent_bytes(sock: socket.socket, *, fin_sent: bool = False) -> int | None:
    """Bytes in the kernel's hands that the peer has not acknowledged; None where the host cannot say.

    `fin_sent` says that a FIN is behind them: Linux counts it as a byte.
    """
    try:
        if sys.platform == "linux":
            counted = int(struct.unpack("i", fcntl.ioctl(sock.fileno(), _SIOCOUTQ, bytes(4)))[0])
            return counted - 1 if fin_sent and counted else counted
        if sys.platform == "darwin":
            return sock.getsockopt(socket.SOL_SOCKET, _SO_NWRITE)
    except (OSError, ValueError):  # closed
        pass
    return None


def waiting_bytes(sock: socket.socket) -> int:
    """Bytes in the kernel's hands that were not sent yet: the peer's window is closed, or pacing holds them up.

    What was sent within this host is in the peer's receive queue, though its kernel may acknowledge it only 40 ms
    later; so `unsent_bytes` counts too much for this. Where the host does not tell the two apart, they are one.
    """
    if sys.platform != "linux":
        return unsent_bytes(sock) or 0
    try:
        return int(struct.unpack("i", fcntl.ioctl(sock.fileno(), _SIOCOUTQNSD, bytes(4)))[0])
    except (OSError, ValueError):  # closed
        return 0


def unread_bytes(sock: socket.socket) -> int | None:
    """Bytes that arrived and were not read; None where the host cannot say."""
    if sys.platform == "win32":
        return None
    try:
        return int(struct.unpack("i", fcntl.ioctl(sock.fileno(), termios.FIONREAD, bytes(4)))[0])
    except (OSError, ValueError):  # closed
        return None
