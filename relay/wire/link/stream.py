"""Frames on a stream, each behind its length in four bytes, big-endian: QEMU's `-netdev stream`, and passt's protocol.

    listening --a client connects--> connected --EOF, an error, or a length that no frame has--> listening
    dialling  --connected----------> connected --likewise--------------------------------------> dialling, after a while

One guest at a time: a client that comes while another is connected is closed at once. What a guest does not take in
time waits until the rest of one frame has been sent, and what is to be sent meanwhile is lost.
"""

from __future__ import annotations

import errno
import socket
from collections.abc import Callable, Sequence
from contextlib import suppress

from relay.loop.forks import close_in_children, held
from relay.wire.frame import HEADER_BYTES
from relay.wire.link._api import Timer, Watching
from relay.wire.packet import Buffer

_LENGTH_BYTES = 4
_LONGEST_BYTES = HEADER_BYTES + 65535
_BUFFER_BYTES = 4 * _LONGEST_BYTES
_REDIAL_S = 1.0

Dial = Callable[[], socket.socket]
"""Begins a connection and returns its non-blocking socket. It raises OSError."""


class StreamLink:
    """A link over the connection that a listener accepts, or that `dial` opens; one of the two is given."""

    ethernet = True
    offload = False
    vouched = False

    def __init__(
        self,
        name: str,
        *,
        listener: socket.socket | None = None,
        dial: Dial | None = None,
        mtu: int = 1500,
        on_close: Callable[[], None] = lambda: None,
    ) -> None:
        self.name = name
        self.mtu = mtu
        self.dropped = 0
        self._listener = listener
        self._dial = dial
        self._on_close = on_close
        self._guest: _Guest | None = None
        self._timer: Timer | None = None
        self._stop: Callable[[], None] | None = None
        self._is_closed = False

    def watch(self, engine: Watching, on_readable: Callable[[], None]) -> None:
        self._engine = engine
        self._on_readable = on_readable
        if self._listener is not None:
            self._stop = engine.watch_readable(self._listener, self._accept)
        else:
            self._redial()

    def receive(self) -> memoryview | None:
        if self._guest is None:
            return None
        frame = self._guest.next_frame()
        if self._guest.is_over:
            self._forget_guest()
        return frame

    def send(self, parts: Sequence[Buffer], segment_bytes: int | None = None) -> bool:
        guest = self._guest
        if guest is None or not guest.send(parts):
            self.dropped += 1
            return False
        return True

    def close(self) -> None:
        if self._is_closed:
            return
        self._is_closed = True
        if self._timer is not None:
            self._timer.cancel()
        if self._stop is not None:
            self._stop()
        if self._listener is not None:
            self._listener.close()
        if self._guest is not None:
            self._engine.unwatch_and_close(self._guest)
            self._guest = None
        self._on_close()

    def _accept(self) -> None:
        assert self._listener is not None  # noqa: S101 - it has called
        while not self._is_closed:
            try:
                with held:
                    connection, _ = self._listener.accept()
                    close_in_children(connection)
            except OSError:  # no other client is there, or no descriptor is left
                return
            if self._guest is not None:
                connection.close()
            else:
                self._begin(connection)

    def _redial(self) -> None:
        assert self._dial is not None  # noqa: S101 - there is no listener
        self._timer = None
        try:
            with held:
                connection = self._dial()
                close_in_children(connection)
        except OSError:
            self._timer = self._engine.call_later(_REDIAL_S, self._redial)
        else:
            self._begin(connection)

    def _begin(self, connection: socket.socket) -> None:
        connection.setblocking(False)
        if connection.family != getattr(socket, "AF_UNIX", None):
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._guest = _Guest(self._engine, connection, self._on_readable)
        self._engine.watch(self._guest)

    def _forget_guest(self) -> None:
        assert self._guest is not None  # noqa: S101 - it was over
        self._engine.unwatch_and_close(self._guest)
        self._guest = None
        if self._dial is not None:
            self._timer = self._engine.call_later(_REDIAL_S, self._redial)


class _Guest:
    """One connection."""

    def __init__(self, engine: Watching, sock: socket.socket, on_readable: Callable[[], None]) -> None:
        self.sock = sock
        self.is_over = False
        self._engine = engine
        self._on_readable = on_readable
        self._buffer = memoryview(bytearray(_BUFFER_BYTES))
        self._begin = self._end = 0  # of what was read and not yet returned
        self._unsent = bytearray()

    def on_ready(self, readable: bool, writable: bool, ended: bool) -> None:
        if writable and self._unsent:
            self._flush()
        if readable or ended:
            self._on_readable()

    def next_frame(self) -> memoryview | None:
        while True:
            at, there = self._begin + _LENGTH_BYTES, self._end - self._begin
            if there >= _LENGTH_BYTES:
                length = int.from_bytes(self._buffer[self._begin : at])
                if not HEADER_BYTES <= length <= _LONGEST_BYTES:
                    self.is_over = True
                    return None
                if there >= _LENGTH_BYTES + length:
                    self._begin = at + length
                    return self._buffer[at : at + length]
            if not self._read():
                return None

    def send(self, parts: Sequence[Buffer]) -> bool:
        if self._unsent:
            return False
        frame = b"".join((sum(map(len, parts)).to_bytes(_LENGTH_BYTES), *parts))
        try:
            sent = self.sock.send(frame)
        except OSError:  # no room now; or the connection is broken or not there yet, which a read finds out
            return False
        if sent < len(frame):
            self._unsent += memoryview(frame)[sent:]
            self._engine.rearm_write(self)
        return True

    def _read(self) -> bool:
        """Read what is there; return whether that was anything."""
        if self._begin:
            there = self._end - self._begin
            self._buffer[:there] = self._buffer[self._begin : self._end]
            self._begin, self._end = 0, there
        try:
            count = self.sock.recv_into(self._buffer[self._end :])
        except (BlockingIOError, InterruptedError):
            self._engine.rearm_read(self)
            return False
        except OSError as error:
            if error.errno == errno.ENOTCONN:  # it is being opened still
                self._engine.rearm_read(self)
                return False
            count = 0
        self._end += count
        self.is_over = count == 0
        return count > 0

    def _flush(self) -> None:
        with suppress(OSError):
            while self._unsent:
                del self._unsent[: self.sock.send(self._unsent)]
        if self._unsent:
            self._engine.rearm_write(self)
