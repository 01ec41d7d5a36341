"""The server of the stories, on loopback: one that echoes, and one too busy to answer a SYN.

A kernel completes handshakes without asking the program, so a slow program alone makes no slow handshake. A full
backlog does: while no program accepts, the kernel drops each SYN, and the caller's kernel repeats it a second later.
"""

from __future__ import annotations

import contextlib
import socket
import struct
import threading
import time
from dataclasses import dataclass
from typing import Self

from relay.errors import Unsupported
from relay.net.queues import unsent_bytes
from relay.observe.kernel.tcp_info import tcp_info

HOST = "127.0.0.1"
_SEGS_IN_AT = 140  # struct tcp_info, linux/tcp.h: u32, segments that came in
_TIMEOUT_S = 5.0
_FULL_AFTER_S = 0.2  # on loopback a handshake takes 0.1 ms: one that takes this long waits for a place in the backlog
_MOST_PLACES = 8  # what a kernel may make of a backlog of 0; Linux makes 1


@dataclass(frozen=True, slots=True)
class Visit:
    """One connection as the server saw it."""

    said: tuple[str, ...]
    """What the client said, one entry per read."""
    ended: str
    """`FIN`, `RST`, or `open` if nothing had ended it in time."""
    at_s: float
    """When that was, on the monotonic clock."""

    def __str__(self) -> str:
        return ", ".join([*(f'"{words}"' for words in self.said), self.ended])


class EchoServer:
    """Echoes what one client sends, and keeps it."""

    def __init__(self) -> None:
        self._listener = socket.create_server((HOST, 0))
        self._listener.settimeout(_TIMEOUT_S)
        self.port: int = self._listener.getsockname()[1]
        self._connection: socket.socket | None = None
        self._said: list[str] = []
        self._ended = "open"
        self._ended_at_s = 0.0
        self._echoing = threading.Thread(target=self._echo, name="demo-echo", daemon=True)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._listener.close()
        if self._connection is not None:
            with contextlib.suppress(OSError):  # the client has reset it
                self._connection.shutdown(socket.SHUT_RDWR)
            self._echoing.join()
            self._connection.close()

    def accept(self) -> None:
        """Take the call that is waiting, and echo it from now on.

        Raises:
            TimeoutError: no client calls.
        """
        self._connection, _ = self._listener.accept()
        self._echoing.start()

    def visit(self) -> Visit:
        """How the connection went, once it is over."""
        self._echoing.join(_TIMEOUT_S)
        return Visit(tuple(self._said), self._ended, self._ended_at_s)

    def wait_until_heard(self) -> None:
        """Return when the other end has acknowledged every echo; no segment is then on its way.

        Raises:
            TimeoutError: it does not.
        """
        assert self._connection is not None, "no client was accepted"  # noqa: S101
        deadline_s = time.monotonic() + _TIMEOUT_S
        while unsent_bytes(self._connection):
            if time.monotonic() > deadline_s:
                raise TimeoutError("the server's words are not acknowledged")
            time.sleep(0.002)  # a send queue cannot be waited on

    def segments_in(self) -> int:
        """How many segments the connection has brought. Linux."""
        assert self._connection is not None, "no client was accepted"  # noqa: S101
        count: int = struct.unpack_from("=I", tcp_info(self._connection), _SEGS_IN_AT)[0]
        return count

    def _echo(self) -> None:
        assert self._connection is not None, "started by accept"  # noqa: S101
        try:
            while data := self._connection.recv(65536):
                self._said.append(data.decode())
                self._connection.sendall(data)
            self._ended = "FIN"
        except OSError:
            self._ended = "RST"
        self._ended_at_s = time.monotonic()


class BusyServer:
    """A server whose backlog is full, until it recovers.

    Raises:
        Unsupported: this host's kernel answers a SYN whether or not there is a place in the backlog.
    """

    def __init__(self) -> None:
        self._listener = socket.create_server((HOST, 0), backlog=0)
        self.port: int = self._listener.getsockname()[1]
        self._waiting: list[socket.socket] = []
        try:
            while not self._is_full():
                if len(self._waiting) == _MOST_PLACES:
                    raise Unsupported(
                        "this host's kernel completes handshakes beyond a full backlog", hint="use relay on Linux"
                    )
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        for sock in (*self._waiting, self._listener):
            sock.close()

    def recover(self) -> None:
        """Take every call that waits, and hang up on it: from now on there is a place for the next one."""
        for _ in self._waiting:
            self._listener.accept()[0].close()

    def visit(self, within_s: float) -> Visit | None:
        """The next connection, read to its end; None if no client calls in time."""
        self._listener.settimeout(within_s)
        try:
            connection, _ = self._listener.accept()
        except TimeoutError:
            return None
        with connection:
            connection.settimeout(_TIMEOUT_S)
            said, ended = [], "FIN"
            try:
                while data := connection.recv(65536):
                    said.append(data.decode())
            except TimeoutError:
                ended = "open"
            except OSError:
                ended = "RST"
            return Visit(tuple(said), ended, time.monotonic())

    def _is_full(self) -> bool:
        sock = socket.socket()
        sock.settimeout(_FULL_AFTER_S)
        try:
            sock.connect((HOST, self.port))
        except TimeoutError:
            sock.close()
            return True
        except OSError as error:
            sock.close()
            raise Unsupported(
                f"this host's kernel refuses what its backlog has no place for: {error.strerror}",
                hint="use relay on Linux",
            ) from None
        self._waiting.append(sock)
        return False
