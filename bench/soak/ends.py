"""One end of a flow: a socket that sends one stream at its tempo, and checks every byte of the other.

How it ended is in `how`: `fin` if the peer's FIN came and nothing else was met, `rst` if a read or a write met a reset,
whichever came first: what the error took from the one the other does not see.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import struct

from bench.soak.plans import Tempo
from bench.soak.streams import MAX_PIECE_BYTES, Stream
from relay.net.queues import unsent_bytes

_LINGER_RST = struct.pack("ii", 1, 0)
_MAX_HEAD_BYTES = 4096
_POLL_S = 0.002


class End:
    """One end of one flow."""

    def __init__(self, sock: socket.socket, sends: Stream, takes: Stream, sending: Tempo, receiving: Tempo) -> None:
        self.sock = sock
        self._sends = sends
        self._takes = takes
        self._sending = sending
        self._receiving = receiving
        self._read_ahead = b""
        self._fin_sent = False
        self._fin_received = False
        self._broken = False
        self.sent_bytes = 0
        """How much of its stream the kernel has taken."""
        self.received_bytes = 0
        """How much of the other stream has come, and was right."""

    @property
    def how(self) -> str:
        """How the peer ended it, as far as this end has found out."""
        if self._broken:
            return "rst"
        return "fin" if self._fin_received else "open"

    # Sending

    async def send(self, up_to_bytes: int | None = None) -> bool:
        """Send the stream, or as far as this; False if the connection broke."""
        goal = self._sends.size_bytes if up_to_bytes is None else up_to_bytes
        pause_at = self.sent_bytes + self._sending.pause_every_bytes
        while self.sent_bytes < goal:
            piece = self._sends.piece(self.sent_bytes, min(self._sending.piece_bytes, goal - self.sent_bytes))
            if not await self.send_raw(piece):
                return False
            self.sent_bytes += len(piece)
            if self.sent_bytes >= pause_at:
                pause_at += self._sending.pause_every_bytes
                await asyncio.sleep(self._sending.pause_s)
        return not self._broken

    async def send_to_the_cut(self, cut_bytes: int, *, settled: bool) -> bool:
        """Send so much of the stream; `settled`: until that much is acknowledged, too."""
        if not await self.send(cut_bytes):
            return False
        if settled:
            await self._wait_until_acknowledged()
        return True

    async def send_marked(self, after_bytes: int, tos: int, *, settled: bool) -> bool:
        """Send the stream, after so much of it with another TOS byte; `settled`: when that much is acknowledged."""
        if not await self.send_to_the_cut(after_bytes, settled=settled):
            return False
        self.sock.setsockopt(socket.IPPROTO_IP, socket.IP_TOS, tos)
        return await self.send()

    async def send_raw(self, data: bytes) -> bool:
        """Send what is no part of the stream; False if the connection broke."""
        try:
            await asyncio.get_running_loop().sock_sendall(self.sock, data)
        except (ConnectionResetError, BrokenPipeError):
            self._broken = True
        return not self._broken

    def finish(self) -> None:
        """Send a FIN; harmless when repeated."""
        if self._fin_sent:
            return
        self._fin_sent = True
        try:
            self.sock.shutdown(socket.SHUT_WR)
        except OSError:
            self._broken = True

    async def _wait_until_acknowledged(self) -> None:
        """Until the peer's kernel has everything that was sent."""
        while unsent_bytes(self.sock):  # noqa: ASYNC110 - a send queue cannot be waited on
            await asyncio.sleep(_POLL_S)

    # Receiving

    async def receive(self, up_to_bytes: int | None = None) -> None:
        """Take in, and check, what comes: up to the end, or so much of the stream."""
        if self.how != "open":
            return
        if self._read_ahead:
            self._take(self._read_ahead)
            self._read_ahead = b""
        pause_at = self.received_bytes + self._receiving.pause_every_bytes
        size_bytes = min(MAX_PIECE_BYTES, self._receiving.piece_bytes)
        while up_to_bytes is None or self.received_bytes < up_to_bytes:
            wanted = size_bytes if up_to_bytes is None else min(size_bytes, up_to_bytes - self.received_bytes)
            data = await self._receive_some(wanted)
            if not data:
                return
            self._take(data)
            if self.received_bytes >= pause_at:
                pause_at += self._receiving.pause_every_bytes
                await asyncio.sleep(self._receiving.pause_s)

    async def receive_head(self) -> bytes:
        """Take in what is no part of the stream, up to an empty line; empty if the end came before it."""
        head = self._read_ahead
        while b"\r\n\r\n" not in head and len(head) < _MAX_HEAD_BYTES:
            data = await self._receive_some(_MAX_HEAD_BYTES)
            if not data:
                return b""
            head += data
        head, _, self._read_ahead = head.partition(b"\r\n\r\n")
        return head

    async def _receive_some(self, size_bytes: int) -> bytes:
        try:
            data = await asyncio.get_running_loop().sock_recv(self.sock, size_bytes)
        except ConnectionResetError:
            self._broken = True
            return b""
        self._fin_received |= not data
        return data

    def _take(self, data: bytes) -> None:
        self._takes.check(self.received_bytes, data)
        self.received_bytes += len(data)

    # Ending

    def reset(self) -> None:
        """Close with a RST."""
        reset(self.sock)

    def close(self) -> None:
        self.sock.close()


def reset(sock: socket.socket) -> None:
    """Close with a RST."""
    with contextlib.suppress(OSError):  # it has been reset already
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _LINGER_RST)
    sock.close()
