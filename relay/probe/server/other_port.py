"""The server's other port, which is closed, open or a black hole, as a session wants it for a while.

    closed   held, but not listened on: a SYN is refused
    open     as the main port
    hole     its queue is full, and a SYN gets no answer (Linux; elsewhere a full queue may refuse)

One session at a time may have it. The connections that fill the queue are the server's own, to itself.
"""

from __future__ import annotations

import socket
import sys
from collections.abc import Awaitable, Callable
from contextlib import suppress

import anyio

from relay.address import Endpoint
from relay.net.listen import open_listener
from relay.probe.clock import ProbeClock
from relay.probe.server.limits import MAX_PORT_S

STATES = ("closed", "open", "hole")
_MOST_FILLERS = 8
_ANSWERED_WITHIN_S = 0.05  # by loopback, in real seconds


class OtherPort:
    """A port beside the main one."""

    def __init__(self, address: Endpoint, clock: ProbeClock) -> None:
        self.address = address
        self._clock = clock
        self._sock: socket.socket | None = None
        self._fillers: list[socket.socket] = []
        self._holder: object = None
        self._until_s = 0.0
        self._opened = anyio.Event()
        self._leased = anyio.Event()
        self._changing = anyio.Lock()
        self.arrivals = 0
        """How many connections have come since the port was opened last, but for the server's own."""

    def hold(self) -> None:
        """Take the port.

        Raises:
            ConfigError: it is taken.
        """
        self._sock = open_listener(self.address, where="the other port")
        self.address = Endpoint(*self._sock.getsockname()[:2])
        self._close_port()

    def close(self) -> None:
        """Give the port back."""
        self._drop_fillers()
        if self._sock is not None:
            self._sock.close()

    async def become(self, state: str, session: object, for_s: float) -> str:
        """Be so for this session, for a while; returns why not, or nothing."""
        now_s = self._clock.now_s()
        if self._holder not in {None, session} and now_s < self._until_s:
            return "another session has the other port: try again in a few minutes"
        self._holder, self._until_s = session, now_s + min(for_s, MAX_PORT_S)
        self._leased.set()
        async with self._changing:
            if state == "hole":
                return await self._become_hole()
            if state == "open":
                self._become_open()
            else:
                self._close_port()
        return ""

    def leave(self, session: object) -> None:
        """A session has no more use for it."""
        if self._holder is session:
            self._holder = None
            self._close_port()

    async def serve(self, take: Callable[[socket.socket], Awaitable[None]]) -> None:
        """Hand over what connects, for as long as the port is open."""
        while True:
            await self._opened.wait()
            listener = self._sock
            assert listener is not None  # noqa: S101 - held before it is served
            with suppress(OSError, ValueError, anyio.ClosedResourceError):
                await anyio.wait_readable(listener)
                accepted, peer = listener.accept()
                if peer in [filler.getsockname() for filler in self._fillers]:
                    accepted.close()
                else:
                    self.arrivals += 1
                    await take(accepted)

    async def expire(self) -> None:
        """Close the port whenever a session has had it for long enough."""
        while True:
            await self._leased.wait()
            self._leased = anyio.Event()
            while (left_s := self._until_s - self._clock.now_s()) > 0:
                await self._clock.sleep(left_s)
            async with self._changing:
                if self._holder is not None and self._clock.now_s() >= self._until_s:
                    self.leave(self._holder)

    def _become_open(self) -> None:
        self.arrivals = 0
        if self._sock is not None:
            self._sock.listen()  # on a hole: its queue grows
            self._opened.set()

    async def _become_hole(self) -> str:
        if sys.platform != "linux":
            return "a black hole needs a server on Linux"
        self._close_port()
        assert self._sock is not None  # noqa: S101
        self._sock.listen(0)
        host = "::1" if ":" in self.address.host else "127.0.0.1"
        target = (host if self.address.host in {"0.0.0.0", "::"} else self.address.host, self.address.port)
        for _ in range(_MOST_FILLERS):
            filler = socket.socket(self._sock.family)
            filler.setblocking(False)
            self._fillers.append(filler)
            with suppress(BlockingIOError):
                filler.connect(target)
            with self._clock.limit_really(_ANSWERED_WITHIN_S):
                await anyio.wait_writable(filler)
                continue
            self._fillers.pop().close()
            return ""
        self._close_port()
        return "this server's kernel answers beyond a full queue: there is no black hole"

    def _close_port(self) -> None:
        if self._opened.is_set():  # else there is one already that is waited for
            self._opened = anyio.Event()
        self._drop_fillers()
        if self._sock is not None:
            anyio.notify_closing(self._sock)
            self._sock.close()
        self._sock = socket.socket(socket.AF_INET6 if ":" in self.address.host else socket.AF_INET)
        self._sock.setblocking(False)
        if sys.platform != "win32":
            self._sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self._sock.bind(self.address)

    def _drop_fillers(self) -> None:
        for filler in self._fillers:
            filler.close()
        self._fillers.clear()
