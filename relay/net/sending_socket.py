"""The half of a kernel's socket that sends: what the kernel would not take yet is kept here, and a FIN behind it."""

from __future__ import annotations

import errno
import socket
from collections.abc import Callable

from relay.loop.engine import Engine
from relay.net.pipe import Pipe


class SendingSocket:
    """A non-blocking socket as far as it sends; `KernelLeg` has the rest, and sets the attributes."""

    __slots__ = (
        "_fin_received",
        "_fin_sent",
        "_finish_pending",
        "_undelivered_bytes",
        "ask_tos",
        "broken",
        "closed",
        "frozen",
        "loop",
        "readable",
        "sock",
        "unsent",
        "writable",
    )

    _fin_received: bool
    _fin_sent: bool
    _finish_pending: bool
    _undelivered_bytes: int
    """Written when the connection had broken."""
    ask_tos: Callable[[], None] | None
    """Called before every read and after every write, where the TOS byte can only be had by asking."""
    broken: int
    """The errno that ended the connection, once a read or write has met it."""
    closed: bool
    frozen: bool
    """Whether it is neither read nor written for now."""
    loop: Engine
    readable: bool
    sock: socket.socket
    unsent: bytes | bytearray | Pipe
    """Written, not taken by the kernel yet. What was spliced is in a pipe still."""
    writable: bool

    def on_ready(self, readable: bool, writable: bool, ended: bool) -> None:
        """The engine has found it ready."""
        raise NotImplementedError

    def close(self) -> None:
        """Give the socket back; harmless when repeated."""
        raise NotImplementedError

    @property
    def has_room(self) -> bool:
        """Whether the kernel would take what is written now, and nothing waits before it."""
        return self.writable and not self.unsent and not self.frozen

    @property
    def has_unsent(self) -> bool:
        """Whether something waits that the kernel has not taken."""
        return bool(self.unsent)

    def write(self, data: bytes | bytearray | memoryview) -> None:
        """Take in all of `data`; what the kernel does not take now goes out as it can."""
        if not data:
            return
        sent = 0 if self.unsent or not self.writable or self.frozen else self._send(data)
        if sent < len(data):
            if self.broken:
                self._undelivered_bytes += len(data) - sent
            else:
                self._keep(data[sent:])
        if self.ask_tos is not None:
            self.ask_tos()

    def write_from(self, pipe: Pipe) -> None:
        """`write` what the pipe holds, and give it back. Only while nothing is unsent."""
        self.unsent = pipe
        self.flush()

    def _keep(self, data: bytes | bytearray | memoryview) -> None:
        if isinstance(self.unsent, Pipe):
            pipe, self.unsent = self.unsent, self.unsent.read()
            pipe.give_back()
        if self.unsent:
            self.unsent += data
        else:
            self.unsent = bytearray(data)

    def flush(self) -> None:
        """Go on with what is unsent, and with a FIN that waits behind it."""
        if self.frozen:
            return
        if self.unsent and self.writable and not self.broken:
            self._send_unsent()
        if self.broken:
            self._undelivered_bytes += len(self.unsent)
            self._drop_unsent()
        if self._finish_pending and not self.unsent:
            self._shutdown()
        if self.ask_tos is not None and not self.closed:
            self.ask_tos()

    def finish(self) -> None:
        """Send a FIN after everything written so far. If the peer has sent its own, that is the end of the leg."""
        if self.unsent or self.frozen:
            self._finish_pending = True
        else:
            self._shutdown()

    def _send_unsent(self) -> None:
        unsent = self.unsent
        while unsent and self.writable and not self.broken:
            if isinstance(unsent, bytearray):
                with memoryview(unsent) as view:
                    sent = self._send(view)
                del unsent[:sent]
            else:
                self._send(unsent)
        if not unsent:
            self._drop_unsent()

    def _drop_unsent(self) -> None:
        if isinstance(self.unsent, Pipe):
            self.unsent.give_back()
        self.unsent = b""

    def _send(self, data: bytes | bytearray | memoryview | Pipe) -> int:
        # A pipe may be emptied by halves though the kernel would take more.
        try:
            if isinstance(data, Pipe):
                wanted, sent = 1, data.empty_into(self.sock)
            else:
                wanted, sent = len(data), self.sock.send(data)
        except BlockingIOError:
            wanted, sent = 1, 0
        except OSError as error:
            self.broken = error.errno or errno.ECONNRESET
            self.readable = True  # what it sent before it broke is still to be read
            return 0
        if sent < wanted:
            self.writable = False
            self.loop.rearm_write(self)
        return sent

    def _shutdown(self) -> None:
        self._finish_pending = False
        if self._fin_received:
            self.close()  # sends the FIN as well
            return
        if self._fin_sent:
            return
        try:
            self.sock.shutdown(socket.SHUT_WR)
            self._fin_sent = True
        except OSError as error:
            self.broken = self.broken or error.errno or errno.ENOTCONN
