"""UDP at a probe server, on the numbers of its two ports: replies to genuine requests, and to nothing else.

A reply goes to the source of a request that proves the session's key, and is shorter than that. A request counts once.
A session has one source address, that of its first; one reply that is yet to come for each of its ports; and so many
requests in all, and in a second.
"""

from __future__ import annotations

import socket
from collections.abc import Mapping
from contextlib import suppress

import anyio
from anyio.abc import TaskGroup

from relay.address import Endpoint
from relay.errors import ProtocolError
from relay.probe.clock import ProbeClock
from relay.probe.protocol.datagrams import (
    ECHO,
    LATER,
    OTHER,
    REQUEST_BYTES,
    Reply,
    Request,
    read_request,
    session_of,
    write_reply,
)
from relay.probe.server.limits import MAX_DATAGRAMS, MAX_DATAGRAMS_A_SECOND
from relay.probe.server.session import Session


class Ration:
    """What a session may still have of UDP."""

    def __init__(self) -> None:
        self._source = ""
        self._seen: set[int] = set()
        self._second = -1
        self._in_second = 0
        self.awaited: set[tuple[str, int]] = set()
        """Sources that a reply is yet to be sent to."""

    def takes(self, request: Request, source: str, now_s: float) -> bool:
        """Whether this one counts: it is new, from the session's address, and not one too many."""
        self._source = self._source or source
        if source != self._source or request.sequence in self._seen or len(self._seen) >= MAX_DATAGRAMS:
            return False
        if int(now_s) != self._second:
            self._second, self._in_second = int(now_s), 0
        self._in_second += 1
        self._seen.add(request.sequence)
        return self._in_second <= MAX_DATAGRAMS_A_SECOND


class Datagrams:
    """Both UDP sockets."""

    def __init__(self, sessions: Mapping[bytes, Session], clock: ProbeClock) -> None:
        self._sessions = sessions
        self._rations: dict[bytes, Ration] = {}
        self._clock = clock
        self._sockets: list[socket.socket] = []

    def open(self, *addresses: Endpoint) -> bool:
        """Take the ports; False where one is taken already, and there is no UDP then."""
        try:
            for address in addresses:
                sock = socket.socket(socket.AF_INET6 if ":" in address.host else socket.AF_INET, socket.SOCK_DGRAM)
                self._sockets.append(sock)
                sock.setblocking(False)
                sock.bind(address)
        except OSError:
            self.close()
        return bool(self._sockets)

    def close(self) -> None:
        """Give the ports back."""
        for sock in self._sockets:
            anyio.notify_closing(sock)
            sock.close()
        self._sockets.clear()

    async def serve(self) -> None:
        """Answer, until cancelled."""
        async with anyio.create_task_group() as tasks:
            for sock, other in zip(self._sockets, reversed(self._sockets), strict=True):
                tasks.start_soon(self._receive, sock, other, tasks)

    async def _receive(self, sock: socket.socket, other: socket.socket, tasks: TaskGroup) -> None:
        while True:
            with suppress(anyio.ClosedResourceError):
                await anyio.wait_readable(sock)
            if sock not in self._sockets:
                return
            with suppress(OSError, ProtocolError):  # ECONNREFUSED: an earlier reply's addressee is gone
                datagram, source = sock.recvfrom(REQUEST_BYTES + 1)
                self._answer(datagram, source[:2], sock, other, tasks)

    def _answer(
        self, datagram: bytes, source: tuple[str, int], sock: socket.socket, other: socket.socket, tasks: TaskGroup
    ) -> None:
        session = self._sessions.get(session_of(datagram))
        if session is None:
            return
        request = read_request(datagram, session.key)
        ration = self._rations.setdefault(session.name, Ration())
        self._rations = {name: each for name, each in self._rations.items() if name in self._sessions}
        if not ration.takes(request, source[0], self._clock.now_s()):
            return
        if request.what in {ECHO, OTHER}:
            self._reply(session, request, 0, other if request.what == OTHER else sock, source)
        elif request.what == LATER and source not in ration.awaited:
            ration.awaited.add(source)
            tasks.start_soon(self._reply_later, session, request, sock, source, ration)

    async def _reply_later(
        self, session: Session, request: Request, sock: socket.socket, source: tuple[str, int], ration: Ration
    ) -> None:
        began_s = self._clock.now_s()
        for index, time_s in enumerate(request.times_s):
            if time_s:
                await self._clock.sleep(began_s + time_s - self._clock.now_s())
                self._reply(session, request, index, sock, source)
        ration.awaited.discard(source)

    def _reply(
        self, session: Session, request: Request, index: int, sock: socket.socket, source: tuple[str, int]
    ) -> None:
        reply = Reply(request.sequence, index, *source)
        with suppress(OSError):
            sock.sendto(write_reply(reply, session.key), source)
