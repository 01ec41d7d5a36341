"""Provider `in-process`: the TOS byte of sockets that belong to this very Python process.

A test and the relay that it uses often share a process. Then the kernel need not be asked which socket has which byte:
while `watching` is entered, `socket.socket.setsockopt` is wrapped, and sockets whose IP_TOS is set are remembered,
weakly, with the byte their SYN carried. To ask for a peer is to look up the remembered socket with the same two ends.

asyncio's transports, trio's and anyio's streams, `requests`, `ssl`: all set options through `socket.socket`, so all are
seen. Not seen: C extensions that call setsockopt themselves, other processes, and sockets made from a descriptor that
another object had marked before. Works on every OS, without privileges; where it can, the kernel is the better witness.
"""

from __future__ import annotations

import contextlib
import socket
import threading
import weakref
from collections.abc import Iterator, Mapping
from types import MappingProxyType
from typing import Any, ClassVar

from relay.abilities import Ability, Want
from relay.errors import Unsupported
from relay.observe._api import Failure, Fidelity, Offer, Provider, Target, Watch
from relay.observe.kernel.ends import Ends, ends_of
from relay.observe.kernel.host import Host
from relay.observe.kernel.syn import Syn

_Socket = socket.socket  # programs put another in its place, PySocks and mocks among them


class _Marked:
    """The sockets of this process whose TOS byte was set, and the bytes of their SYNs."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._syn_bytes: weakref.WeakKeyDictionary[socket.socket, int] = weakref.WeakKeyDictionary()
        self.watchers = 0

    def set(self, sock: socket.socket, before: int, after: int) -> None:
        with self._lock:
            if _is_connected(sock):
                self._syn_bytes.setdefault(sock, before)
            else:
                self._syn_bytes[sock] = after

    def find(self, ends: Ends) -> tuple[int, int] | None:
        """The peer's SYN's byte and the one in force, if the peer is a socket that was marked here."""
        with self._lock:
            candidates = list(self._syn_bytes.items())
        for sock, syn_byte in candidates:
            with contextlib.suppress(OSError):  # closed, or not connected
                if (sock.getsockname()[:2], sock.getpeername()[:2]) == (ends.peer, ends.local):
                    return syn_byte, sock.getsockopt(socket.IPPROTO_IP, socket.IP_TOS)
        return None

    def forget(self) -> None:
        with self._lock:
            self._syn_bytes.clear()


_marked = _Marked()


@contextlib.contextmanager
def watching() -> Iterator[None]:
    """See what this process's sockets are marked with, for as long as the block lasts. Blocks may overlap."""
    _marked.watchers += 1
    if _marked.watchers == 1:
        _Socket.setsockopt = _setsockopt  # type: ignore[assignment, method-assign]
    try:
        yield
    finally:
        _marked.watchers -= 1
        if _marked.watchers == 0:
            del _Socket.setsockopt  # what it hid, the C type's own, is there again
            _marked.forget()


def is_watching() -> bool:
    """Whether a block of `watching` is entered."""
    return _marked.watchers > 0


def _setsockopt(sock: socket.socket, *args: Any) -> None:
    if args[:2] == (socket.IPPROTO_IP, socket.IP_TOS) and sock.type == socket.SOCK_STREAM:
        before = sock.getsockopt(socket.IPPROTO_IP, socket.IP_TOS)
        super(_Socket, sock).setsockopt(*args)
        _marked.set(sock, before, sock.getsockopt(socket.IPPROTO_IP, socket.IP_TOS))
    else:
        super(_Socket, sock).setsockopt(*args)


def _is_connected(sock: socket.socket) -> bool:
    try:
        sock.getpeername()
    except OSError:
        return False
    return True


class InProcessWatch(Watch):
    """One peer that may be a socket of this process."""

    __slots__ = ("_ends", "_syn_tos", "_told")

    asks = True

    def __init__(self, ends: Ends, syn_tos: int) -> None:
        self._ends = ends
        self._syn_tos = syn_tos
        self._told: int | None = None

    def ask(self) -> int | None:
        found = _marked.find(self._ends)
        if found is None:
            return None
        syn_byte, now = found
        if now == (self._told if self._told is not None else syn_byte):
            return None
        self._told = now
        return now


class InProcessProvider(Provider):
    """TOS changes of this process's own sockets.

    Raises:
        Unsupported: this process's sockets are not watched.
    """

    name: ClassVar[str] = "in-process"
    purpose: ClassVar[str] = "TOS bytes of sockets of the same Python process, as in a test; any OS"
    offers: ClassVar[Mapping[Want, Offer]] = MappingProxyType(
        {
            Want(Ability.TOS): Offer(
                Fidelity.APPROXIMATE,
                "asked around reads and writes; only sockets of this process are seen, and only what is set through "
                "Python's socket module",
            )
        }
    )

    def __init__(self, host: Host) -> None:
        if (failure := self.self_test()) is not None:
            raise Unsupported(failure.reason, hint=self.remedy(failure))

    @classmethod
    def self_test(cls) -> Failure | None:
        return None if is_watching() else Failure("this process's sockets are not watched")

    @classmethod
    def remedy(cls, failure: Failure) -> str:
        return "it serves tests, through the pytest fixture"

    def syn_of(self, accepted: socket.socket) -> Syn:
        """A SYN of this process's that was never marked has 0; that of another process's is not known to differ."""
        syn = super().syn_of(accepted)
        if syn.kept or (ends := ends_of(accepted)) is None:
            return syn
        found = _marked.find(ends)
        return Syn(found[0] if found is not None else 0)

    def attach(self, target: Target) -> InProcessWatch | None:
        syn_tos, ends = target.syn_tos, ends_of(target.sock)
        if syn_tos is None or ends is None or not ends.is_ipv4:
            return None
        return InProcessWatch(ends, syn_tos)
