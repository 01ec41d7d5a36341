"""Listening sockets: accepting in bursts, and coping when descriptors run out.

When the process or the host has no descriptor left, accept fails and the connection stays in the backlog. The listener
then rests, says so, and tries again; the kernel keeps the callers waiting meanwhile. The listener has resumed when no
caller waits any more: a single descriptor that comes free, perhaps for a moment, does not end the shortage.

Several processes may share an address (SO_REUSEPORT): the kernel then gives each connection to one of their listeners,
by a hash of both addresses and ports. A foreign process of the same user could join, too. So the process that starts
the listening processes reserves the address first, for as long as they live. Linux 6.18: a socket that is bound and
does not listen is given no connection, and keeps the port.
"""

from __future__ import annotations

import errno
import os
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from relay.address import Endpoint
from relay.errors import ConfigError
from relay.loop.engine import Engine
from relay.loop.forks import close_in_children, held
from relay.loop.timers import Timer
from relay.net.pacing import no_pacing_on_loopback
from relay.net.pipe import PipePool

BACKLOG = 1024
_BURST = 64  # accepted in one go before others have their turn
_REST_S = 0.1
_EXHAUSTED = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM})


def open_listener(bind: Endpoint, *, where: str, shared: bool = False) -> socket.socket:
    """A non-blocking listening socket; `shared`, one of several on an address that was reserved.

    Raises:
        ConfigError: the address cannot be listened on; the message names `where` it was asked for.
    """
    with _worded(bind, where):
        family, address = _resolved(bind)
        with held:
            listener = socket.create_server(address, family=family, backlog=BACKLOG, reuse_port=shared)
            close_in_children(listener)
    listener.setblocking(False)
    listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)  # what is accepted inherits it
    no_pacing_on_loopback(listener, Endpoint(*address))
    return listener


def demand_address(bind: Endpoint, *, where: str) -> None:
    """Refuse a name that has no address to listen on.

    Raises:
        ConfigError: it has no address.
    """
    with _worded(bind, where):
        _resolved(bind)


def reserve_address(bind: Endpoint, *, where: str) -> socket.socket:
    """Hold an address for listeners of ours to share, and keep all others out until the socket is closed.

    SO_REUSEPORT keeps out neither another relay that shares its address, nor a listener that did so before. So this
    function first listens on the address alone, which fails if another socket listens there. Then it takes
    SO_REUSEADDR back from the socket that holds the address, which makes later attempts of others fail. Of two that
    reserve it at the same time at most one succeeds.

    Raises:
        ConfigError: the address cannot be listened on; the message names `where` it was asked for.
    """
    with _worded(bind, where):
        family, address = _resolved(bind)
        with held:
            holder = socket.socket(family)
            close_in_children(holder)
        try:
            if family == socket.AF_INET6:
                holder.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)  # as create_server does
            holder.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # connections in TIME_WAIT are no obstacle
            holder.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
            holder.bind(address)
            with held, socket.create_server(holder.getsockname()[:2], family=family, backlog=1):
                holder.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 0)
        except BaseException:
            holder.close()
            raise
    return holder


@contextmanager
def _worded(bind: Endpoint, where: str) -> Iterator[None]:
    try:
        yield
    except (OSError, UnicodeError) as error:
        raise ConfigError(f"{where}: cannot listen on {bind}: {_reason(error)}", hint=_hint(error)) from None


def _resolved(bind: Endpoint) -> tuple[socket.AddressFamily, tuple[str, int]]:
    family, _, _, _, (host, port, *_) = socket.getaddrinfo(
        bind.host, bind.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
    )[0]
    return family, (str(host), int(port))


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
        self._retry: Timer | None = None
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
            self._engine.unwatch_and_close(self)

    def _accept_burst(self) -> None:
        for _ in range(_BURST):
            if self._closed:
                return
            try:
                with held:
                    connection, _ = self.sock.accept()
                    self._engine.unwatched.add(connection)
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
                continue  # this caller is gone already (ECONNABORTED); the next one may be there
            connection.setblocking(False)
            try:
                self._accepted(connection)
            except Exception as fault:  # a fault of this connection's alone: the next caller is accepted all the same
                connection.close()
                self._engine.on_fault(fault)
            finally:
                self._engine.unwatched.discard(connection)
        self._engine.call_soon(self._accept_burst)

    def _rest(self, error: OSError) -> None:
        self._engine.shared(PipePool).close_idle()
        if not self._at_rest:
            self._at_rest = True
            self._resting(
                f"{os.strerror(error.errno or 0).lower()}; raise the limit (ulimit -n) or end some connections"
            )
        if self._retry is not None:
            self._retry.cancel()  # a new caller has come meanwhile, and failed like the others
        self._retry = self._engine.call_later(_REST_S, self._accept_burst)
