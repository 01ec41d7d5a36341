"""The least that a relay in Python has to do: one epoll, and for each connection the system calls that carry it.

    python bare.py SOCKS5_PORT FORWARD_PORT TARGET_PORT

No flows, no behaviours, no event log, no limits, no names, no answer to anything unexpected; a FIN from either side is
the end of both. What this reaches is about what a relay of whatever kind can reach in this Python on this machine; how
far the real one stays behind is what its semantics cost.
"""

from __future__ import annotations

import contextlib
import gc
import os
import select
import socket
import sys

LOCALHOST = "127.0.0.1"
BUFFER = memoryview(bytearray(256 * 1024))
BULK_BYTES = 4 << 20  # from here on a direction is spliced, as the relay does it
PIPE_BYTES = 1 << 20
_F_SETPIPE_SZ = 1031
_EDGES = select.EPOLLIN | select.EPOLLOUT | select.EPOLLRDHUP | select.EPOLLET


class End:
    """One side of a connection, and what was read from it that the other has not taken."""

    __slots__ = ("held", "level_bytes", "moved_bytes", "other", "pipe", "sock")

    def __init__(self, sock: socket.socket) -> None:
        self.sock = sock
        self.other: End | None = None
        self.held = b""
        self.moved_bytes = 0
        self.pipe: tuple[int, int] | None = None
        self.level_bytes = 0


class Bare:
    """All connections of the process."""

    def __init__(self, socks5_port: int, forward_port: int, target_port: int) -> None:
        self._target = (LOCALHOST, target_port)
        self._epoll = select.epoll()
        self._ends: dict[int, End] = {}
        self._asking: dict[int, int] = {}  # how many messages of SOCKS5 were answered, by descriptor
        self._listeners = {each.fileno(): each for each in map(self._listen, (socks5_port, forward_port))}
        self._socks5 = next(iter(self._listeners))

    def run(self) -> None:
        """Serve until the process is ended."""
        while True:
            for descriptor, _ in self._epoll.poll():
                if descriptor in self._listeners:
                    self._accept(descriptor)
                elif (end := self._ends.get(descriptor)) is not None:
                    try:
                        self._advance(descriptor, end)
                    except (OSError, EOFError):
                        self._close(end)

    def _listen(self, port: int) -> socket.socket:
        listener = socket.create_server((LOCALHOST, port), backlog=1024)
        listener.setblocking(False)
        _hurry(listener)  # what is accepted inherits it
        self._epoll.register(listener.fileno(), select.EPOLLIN)
        return listener

    def _accept(self, listening: int) -> None:
        with contextlib.suppress(BlockingIOError):
            for _ in range(64):
                sock, _ = self._listeners[listening].accept()
                end = self._add(sock)
                if listening == self._socks5:
                    self._asking[sock.fileno()] = 0
                else:
                    self._dial(end, self._target)

    def _add(self, sock: socket.socket) -> End:
        sock.setblocking(False)
        end = self._ends[sock.fileno()] = End(sock)
        self._epoll.register(sock.fileno(), _EDGES)
        return end

    def _dial(self, near: End, address: tuple[str, int]) -> None:
        sock = socket.socket()
        _hurry(sock)
        sock.setblocking(False)
        sock.connect_ex(address)  # on loopback it is connected when this returns
        near.other = self._add(sock)
        near.other.other = near

    def _advance(self, descriptor: int, end: End) -> None:
        if descriptor in self._asking:
            self._answer(descriptor, end)
        elif end.other is not None:
            self._carry(end, end.other)
            self._carry(end.other, end)

    def _answer(self, descriptor: int, end: End) -> None:
        with contextlib.suppress(BlockingIOError):
            said = end.sock.recv(512)
            if not said:
                raise EOFError
            if not self._asking[descriptor]:
                self._asking[descriptor] = 1
                end.sock.send(b"\x05\x00")
            else:
                del self._asking[descriptor]
                self._dial(end, (socket.inet_ntoa(said[4:8]), int.from_bytes(said[8:10])))
                end.sock.send(b"\x05\x00\x00\x01" + bytes(6))

    def _carry(self, source: End, sink: End) -> None:
        with contextlib.suppress(BlockingIOError):
            while True:
                if source.level_bytes:
                    self._empty(source, sink)
                elif source.held:
                    source.held = source.held[sink.sock.send(source.held) :]
                elif source.moved_bytes < BULK_BYTES:
                    self._copy(source, sink)
                else:
                    self._fill(source)

    def _copy(self, source: End, sink: End) -> None:
        count = source.sock.recv_into(BUFFER)
        if not count:
            raise EOFError
        source.moved_bytes += count
        try:
            sent = sink.sock.send(BUFFER[:count])
        except BlockingIOError:
            sent = 0
        source.held = bytes(BUFFER[sent:count])

    def _fill(self, source: End) -> None:
        if source.pipe is None:
            source.pipe = _open_pipe()
        count = os.splice(source.sock.fileno(), source.pipe[1], PIPE_BYTES, flags=os.SPLICE_F_NONBLOCK)
        if not count:
            raise EOFError
        source.level_bytes += count

    def _empty(self, source: End, sink: End) -> None:
        assert source.pipe is not None
        flags = os.SPLICE_F_NONBLOCK
        source.level_bytes -= os.splice(source.pipe[0], sink.sock.fileno(), source.level_bytes, flags=flags)

    def _close(self, end: End) -> None:
        for each in (end, end.other):
            if each is not None:
                self._ends.pop(each.sock.fileno(), None)
                self._asking.pop(each.sock.fileno(), None)
                each.sock.close()
                for pipe_end in each.pipe or ():
                    os.close(pipe_end)


def _hurry(sock: socket.socket) -> None:
    """Send at once, and unpaced, as the relay does on loopback."""
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_CONGESTION, b"reno")


def _open_pipe() -> tuple[int, int]:
    import fcntl  # noqa: PLC0415 - not on Windows

    ends = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
    fcntl.fcntl(ends[1], _F_SETPIPE_SZ, PIPE_BYTES)
    return ends


if __name__ == "__main__":
    gc.disable()
    Bare(*map(int, sys.argv[1:])).run()
