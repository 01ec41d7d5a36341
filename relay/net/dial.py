"""Opening connections: one address after the other, each by a non-blocking connect.

The addresses are tried in the resolver's order, never at once: a NAT that was seen to open one connection must not open
two. This module alone turns the kernel's answer into a `DialFailure`, by errno.
"""

from __future__ import annotations

import errno
import socket
import sys
from collections.abc import Callable, Sequence
from typing import TypeAlias

from relay.address import Endpoint
from relay.events import DialFailure, FailureKind
from relay.loop.engine import Engine
from relay.loop.forks import held
from relay.loop.timers import Timer
from relay.net.pacing import no_pacing_on_loopback

FAILURE_BY_ERRNO = {
    errno.ECONNREFUSED: FailureKind.REFUSED,
    errno.ECONNRESET: FailureKind.REFUSED,  # a listener that resets within the handshake has refused
    errno.ENETUNREACH: FailureKind.NETWORK_UNREACHABLE,
    errno.ENETDOWN: FailureKind.NETWORK_UNREACHABLE,
    errno.EAFNOSUPPORT: FailureKind.NETWORK_UNREACHABLE,
    errno.EADDRNOTAVAIL: FailureKind.NETWORK_UNREACHABLE,  # the source is of another family, or has no port left
    errno.EHOSTUNREACH: FailureKind.HOST_UNREACHABLE,
    errno.EHOSTDOWN: FailureKind.HOST_UNREACHABLE,
    errno.ETIMEDOUT: FailureKind.TIMED_OUT,
    errno.EACCES: FailureKind.DENIED,
    errno.EPERM: FailureKind.DENIED,
    errno.EMFILE: FailureKind.EXHAUSTED,
    errno.ENFILE: FailureKind.EXHAUSTED,
    errno.ENOBUFS: FailureKind.EXHAUSTED,
    errno.ENOMEM: FailureKind.EXHAUSTED,
}
_UNDER_WAY = frozenset(
    {errno.EINPROGRESS, errno.EALREADY, errno.EWOULDBLOCK, errno.EAGAIN, getattr(errno, "WSAEWOULDBLOCK", -1)}
)

# On loopback the handshake is over when connect returns, though it says "in progress": asked again, Linux says how it
# ended, once, and the poll can be spared. Other systems would call that a second attempt.
_ASKS_AGAIN = sys.platform == "linux"
_NON_BLOCKING = getattr(socket, "SOCK_NONBLOCK", 0)

_NO_ADDRESS = DialFailure(FailureKind.NOT_RESOLVED, "no address")

Address: TypeAlias = tuple[socket.AddressFamily, Endpoint]


class Dial:
    """A connection in the making. Unless it is abandoned, it calls exactly one of `connected` and `failed`, later."""

    __slots__ = ("_addresses", "_connected", "_engine", "_failed", "_failure", "_source", "_timer", "sock")

    def __init__(
        self,
        engine: Engine,
        addresses: Sequence[Address],
        *,
        timeout_s: float,
        source: str | None,
        connected: Callable[[socket.socket, Endpoint], None],
        failed: Callable[[DialFailure], None],
    ) -> None:
        self._engine = engine
        self._addresses = list(addresses)
        self._source = source
        self._connected = connected
        self._failed = failed
        self._failure: DialFailure | None = _NO_ADDRESS
        self._timer: Timer | None = None
        self.sock: socket.socket
        if self._try_next():
            engine.call_soon(self._report)
        else:
            self._timer = engine.call_later(timeout_s, lambda: self._time_out(timeout_s))

    def abandon(self) -> None:
        """Give up; neither callback is called."""
        self._addresses.clear()
        self._failure = None
        if self._timer is not None:
            self._timer.cancel()
        self._drop_socket()

    def _try_next(self) -> bool:
        """Try one address after the other; return whether the dial is over: connected, or no address is left."""
        while self._addresses:
            family, target = self._addresses[0]
            try:
                status = self._start(family, target)
            except socket.gaierror:
                status = errno.EADDRNOTAVAIL  # the source is of another family
            except OSError as error:
                status = error.errno or errno.EIO
            if status in _UNDER_WAY:
                return False
            if status == 0:
                return True
            self._fail_one(status)
        return True

    def _start(self, family: socket.AddressFamily, target: Endpoint) -> int:
        with held:
            self.sock = socket.socket(family, socket.SOCK_STREAM | _NON_BLOCKING)
            self._engine.unwatched.add(self.sock)
        if not _NON_BLOCKING:
            self.sock.setblocking(False)
        self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        no_pacing_on_loopback(self.sock, target)
        if self._source is not None:
            self.sock.bind((self._source, 0))
        status = self.sock.connect_ex((target.host, target.port))
        if status == errno.EINPROGRESS and _ASKS_AGAIN:
            status = self.sock.connect_ex((target.host, target.port))
        if status in _UNDER_WAY:
            self._engine.watch(self)
            self._engine.rearm_write(self)
        return status

    def on_ready(self, readable: bool, writable: bool, ended: bool) -> None:
        if not writable:
            return
        status = self.sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        if status == 0:
            try:
                self.sock.getpeername()
            except OSError:
                # Not connected yet: epoll reports a socket that it was given before its SYN as hung up.
                self._engine.rearm_write(self)
                return
            self._engine.unwatch(self)
            self._report()
        else:
            self._fail_one(status)
            if self._try_next():
                self._report()

    def _report(self) -> None:
        """Report how it ended, unless it was abandoned."""
        if self._timer is not None:
            self._timer.cancel()
        if self._addresses:
            try:
                self._connected(self.sock, self._addresses[0][1])
            finally:
                self._engine.unwatched.discard(self.sock)
        elif self._failure is not None:
            self._failed(self._failure)

    def _fail_one(self, status: int) -> None:
        _, target = self._addresses.pop(0)
        self._failure = failure_of(status, str(target))
        self._drop_socket()

    def _time_out(self, timeout_s: float) -> None:
        target = self._addresses[0][1]
        self.abandon()
        self._failed(DialFailure(FailureKind.TIMED_OUT, f"{target} did not answer within {timeout_s:g} s"))

    def _drop_socket(self) -> None:
        if hasattr(self, "sock"):
            self._engine.unwatch_and_close(self)
            self._engine.unwatched.discard(self.sock)
            del self.sock


def failure_of(number: int, target: str) -> DialFailure:
    """The dial failure that an errno means for a dial to `target`."""
    kind = FAILURE_BY_ERRNO.get(number, FailureKind.OTHER)
    return DialFailure(kind, f"{target}: {errno.errorcode.get(number, number)}")
