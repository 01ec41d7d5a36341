"""Listening sockets: accepting in bursts, and coping when descriptors run out.

When the process or the host has no descriptor left, accept fails for a connection that stays in the backlog. The
listener then rests, says so, and tries again; the kernel keeps the callers waiting meanwhile. It has resumed when none
of them waits any more: one descriptor that comes free, for a moment perhaps, ends no want.
"""

from __future__ import annotations

import errno
import os
import socket
from collections.abc import Callable

from relay.address import Endpoint
from relay.errors import ConfigError
from relay.net.engine import Engine

BACKLOG = 1024
_BURST = 64  # accepted in one go before others have their turn
_REST_S = 0.1
_EXHAUSTED = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM})


def open_listener(bind: Endpoint, *, where: str) -> socket.socket:
    """A non-blocking listening socket.

    Raises:
        ConfigError: the address cannot be listened on; the message names `where` it was asked for.
    """
    try:
        family, _, _, _, address = socket.getaddrinfo(
            bind.host, bind.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        listener = socket.create_server(address[:2], family=family, backlog=BACKLOG)
    except (OSError, UnicodeError) as error:
        raise ConfigError(f"{where}: cannot listen on {bind}: {_reason(error)}", hint=_hint(error)) from None
    listener.setblocking(False)
    return listener


def _reason(error: Exception) -> str:
    number = getattr(error, "errno", None)
    if isinstance(error, socket.gaierror) or number is None:
        return "no such address"
    return os.strerror(number).lower()


def _hint(error: Exception) -> str:
    match getattr(error, "errno", None):
        case errno.EADDRINUSE:
            return "another program listens there; choose another port, or port 0 to have one picked"
        case errno.EACCES:
            return "ports below 1024 need a privilege; choose another"
        case _:
            return "give an address of this host, e.g. 127.0.0.1:1080"


class Listener:
    """Accepts for as long as it is open, and hands each connection over."""

    def __init__(
        self,
        engine: Engine,
        sock: socket.socket,
        accepted: Callable[[socket.socket], None],
        resting: Callable[[str], None],
        resumed: Callable[[], None],
    ) -> None:
        self._engine = engine
        self.sock = sock
        self._accepted = accepted
        self._resting = resting
        self._resumed = resumed
        self._at_rest = False
        self._closed = False
        engine.watch(self)

    @property
    def address(self) -> Endpoint:
        """Where it listens, with the port that was picked if 0 was asked for."""
        return Endpoint(*self.sock.getsockname()[:2])

    def on_ready(self, readable: bool, writable: bool, ended: bool) -> None:
        if readable:
            self._accept_burst()

    def close(self) -> None:
        if not self._closed:
            self._closed = True
            self._engine.unwatch(self)
            self.sock.close()

    def _accept_burst(self) -> None:
        for _ in range(_BURST):
            if self._closed:
                return
            try:
                connection, _ = self.sock.accept()
            except (BlockingIOError, InterruptedError):
                if self._at_rest:
                    self._at_rest = False
                    self._resumed()
                self._engine.rearm_read(self)
                return
            except OSError as error:
                if error.errno in _EXHAUSTED:
                    self._rest(error)
                    return
                continue  # that caller is gone already (ECONNABORTED); the next one may not be
            connection.setblocking(False)
            self._accepted(connection)
        self._engine.call_soon(self._accept_burst)

    def _rest(self, error: OSError) -> None:
        if not self._at_rest:
            self._at_rest = True
            self._resting(
                f"{os.strerror(error.errno or 0).lower()}; raise the limit (ulimit -n) or end some connections"
            )
        self._engine.call_later(_REST_S, self._accept_burst)
