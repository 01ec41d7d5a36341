"""A datagram socket of the host's, watched by the engine."""

from __future__ import annotations

import socket
from collections.abc import Callable
from typing import Any, TypeAlias

from relay.loop.engine import Engine
from relay.loop.forks import held

_BURST = 64  # datagrams in one go, before others have their turn
SocketAddress: TypeAlias = Any
"""What the socket module takes for an address of the family."""


class HostSocket:
    """One socket; `received` is called with each datagram, a view that is valid meanwhile, and where it came from.

    `failed` is called with each error that the socket has instead of a datagram.
    """

    def __init__(
        self,
        engine: Engine,
        family: socket.AddressFamily,
        kind: int,
        protocol: int,
        received: Callable[[memoryview, SocketAddress], None],
        failed: Callable[[OSError], None] = lambda error: None,
    ) -> None:
        """Open it.

        Raises:
            OSError: the kernel opens none.
        """
        self._engine = engine
        self._received = received
        self._failed = failed
        self._closed = False
        with held:
            self.sock = socket.socket(family, kind, protocol)
            engine.unwatched.add(self.sock)
        self.sock.setblocking(False)

    def watch(self) -> None:
        """Begin to receive."""
        self._engine.watch(self)
        self._engine.unwatched.discard(self.sock)

    def close(self) -> None:
        """Receive no more; harmless when repeated."""
        if not self._closed:
            self._closed = True
            self._engine.unwatch_and_close(self)
            self._engine.unwatched.discard(self.sock)

    def on_ready(self, readable: bool, writable: bool, ended: bool) -> None:
        if readable:
            self._receive()

    def _receive(self) -> None:
        any_came = False
        buffer = self._engine.buffer
        for _ in range(_BURST):
            if self._closed:
                return
            try:
                count, address = self.sock.recvfrom_into(buffer)
            except BlockingIOError:
                self._engine.rearm_read(self)
                return
            except OSError as error:
                self._failed(error)
                continue
            any_came = True
            self._received(buffer[:count], address)
        if any_came:
            self._engine.call_soon(self._receive)
