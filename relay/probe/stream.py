"""One end of a TCP connection that a probe looks at: a socket, with what an async library's streams hide.

A FIN differs from a RST, both directions end apart, and a RST can be sent. One task at a time may read, and one send.
"""

from __future__ import annotations

import errno
import socket
import struct
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Final

import anyio

from relay.observe.kernel.tcp_info import tcp_info

_NAMES = {errno.ECONNRESET: "rst", errno.EPIPE: "rst", errno.ECONNABORTED: "rst", errno.ENOTCONN: "rst"}
_WINSOCK = {"WSAECONNRESET": "rst", "WSAECONNABORTED": "rst"}
_ENDS: Final = _NAMES | {getattr(errno, name): end for name, end in _WINSOCK.items() if hasattr(errno, name)}
_LINGER_NONE = struct.pack("ii", 1, 0) if hasattr(socket, "AF_UNIX") else struct.pack("hh", 1, 0)
_QUICK_ACK: Final = getattr(socket, "TCP_QUICKACK", None)
"""Linux: acknowledge now, and not up to 40 ms later."""
_READ_BYTES = 64 * 1024
_SMALL_BUFFER_BYTES = 4096

# struct tcp_info: offsets of what is read (Linux, include/uapi/linux/tcp.h).
_RTT = struct.Struct("=68xI")
_COUNTED = struct.Struct("=120xQQII")  # bytes acked and received; segments out and in


class Broken(Exception):
    """The connection is over without a FIN; `end` is `rst` or an error's name, such as ETIMEDOUT."""

    def __init__(self, number: int) -> None:
        super().__init__(errno.errorcode.get(number, "error"))
        self.end = _ENDS.get(number) or str(self)


class Stream:
    """A connected, non-blocking socket."""

    def __init__(self, sock: socket.socket) -> None:
        sock.setblocking(False)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.sock = sock
        self.is_closed = False

    async def receive(self, at_most: int = _READ_BYTES) -> bytes:
        """What has come, once something has; empty at the peer's FIN.

        Raises:
            Broken: the connection is over otherwise.
        """
        while True:
            try:
                return self.sock.recv(at_most)
            except (BlockingIOError, InterruptedError):
                await self._wait(anyio.wait_readable)
            except OSError as error:
                raise Broken(error.errno or 0) from None

    async def send(self, data: bytes) -> None:
        """Hand all of it to the kernel.

        Raises:
            Broken: the connection is over.
        """
        view = memoryview(data)
        while view:
            try:
                view = view[self.sock.send(view) :]
            except (BlockingIOError, InterruptedError):
                await self._wait(anyio.wait_writable)
            except OSError as error:
                raise Broken(error.errno or 0) from None

    async def _wait(self, ready: Callable[[socket.socket], Awaitable[None]]) -> None:
        try:
            await ready(self.sock)
        except anyio.ClosedResourceError:  # by another task
            raise Broken(errno.EBADF) from None

    def finish(self) -> None:
        """Send FIN, and go on receiving; nothing happens where the connection is over."""
        with suppress(OSError):
            self.sock.shutdown(socket.SHUT_WR)

    def reset(self) -> None:
        """Close with RST."""
        if not self.is_closed:
            self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _LINGER_NONE)
            self.close()

    def close(self) -> None:
        """Close as a program does that exits: FIN, or RST where bytes are unread."""
        if not self.is_closed:
            self.is_closed = True
            anyio.notify_closing(self.sock)
            self.sock.close()

    def acknowledge(self) -> None:
        """Have what has come acknowledged now: nothing is left to send then. Linux; others do so within 0.2 s."""
        if _QUICK_ACK is not None:
            with suppress(OSError):
                self.sock.setsockopt(socket.IPPROTO_TCP, _QUICK_ACK, 1)

    def shrink(self) -> None:
        """Have little room for what comes and is not read."""
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _SMALL_BUFFER_BYTES)

    def state(self) -> dict[str, int]:
        """What the kernel has counted on the connection, and the peer's port; less where it cannot be asked."""
        state: dict[str, int] = {}
        try:
            state["port"] = self.sock.getpeername()[1]
        except OSError:
            return state
        try:
            info = tcp_info(self.sock)
            acked, received, segments_out, segments_in = _COUNTED.unpack_from(info)
        except (OSError, struct.error):
            return state
        state["rtt_us"] = _RTT.unpack_from(info)[0]
        return state | {
            "segments_in": segments_in,
            "segments_out": segments_out,
            "bytes_in": received,
            "bytes_acked": acked,
        }
