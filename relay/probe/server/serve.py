"""Accepts what comes to a probe server's two ports, and finds out what it is.

A connection begins with a control line or with a head. Whatever begins otherwise, or not within ten seconds, is closed
without a byte.
"""

from __future__ import annotations

import errno
import secrets
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress

import anyio
from anyio.abc import TaskGroup

from relay.address import Endpoint
from relay.clock import real_s
from relay.errors import ConfigError, ProtocolError
from relay.net.listen import open_listener
from relay.observe.kernel.syn import save_syn, saved_syn, syn_of, tos_of_syn
from relay.probe.clock import ProbeClock
from relay.probe.protocol.proof import HEAD_BYTES, HELD, MAGIC, SESSION_BYTES, is_genuine, read_head
from relay.probe.protocol.syn import read_syn
from relay.probe.server.control import ControlConnection
from relay.probe.server.datagrams import Datagrams
from relay.probe.server.limits import INTRODUCTION_S, KEEP_SESSION_S, MAX_SESSIONS, MAX_STRANGERS
from relay.probe.server.other_port import OtherPort
from relay.probe.server.session import Session
from relay.probe.stream import Broken, Stream

_EXHAUSTED = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM})
_REST_S = 0.1


@asynccontextmanager
async def open_probe_server(
    bind: Endpoint, token: bytes = b"", *, tell: Callable[[str], None] | None = None, clock: ProbeClock | None = None
) -> AsyncIterator[ProbeServer]:
    """Serve on an address, and on the port behind it, for as long as the block lasts.

    Args:
        bind: where to listen; port 0 picks one, and the other port need not be the next then.
        token: what clients have to prove that they have; without one the address is on loopback.
        tell: takes what happens, a line each, for the server's operator.
        clock: its clock.

    Raises:
        ConfigError: it cannot listen there, or without a token.
    """
    if not bind.is_loopback and not token:
        raise ConfigError(f"--listen: {bind} is beyond loopback, without a token", hint="give --token-file FILE")
    server = ProbeServer(bind, token, tell or (lambda line: None), clock or ProbeClock())
    try:
        async with anyio.create_task_group() as tasks:
            await server.open(tasks)
            try:
                yield server
            finally:
                tasks.cancel_scope.cancel()
    finally:
        server.close()  # once no task waits for its sockets


class ProbeServer:
    """A probe server that serves; made by `open_probe_server`."""

    def __init__(self, bind: Endpoint, token: bytes, tell: Callable[[str], None], clock: ProbeClock) -> None:
        self.address = bind
        """Where it listens."""
        self.token = token
        self.tell = tell
        self.clock = clock
        self.other = OtherPort(Endpoint(bind.host, bind.port + 1 if bind.port else 0), clock)
        """The port beside it."""
        self._sessions: dict[bytes, Session] = {}
        self.datagrams = Datagrams(self._sessions, clock)
        """UDP on both ports."""
        self._strangers: list[anyio.CancelScope] = []
        self._listener: socket.socket | None = None

    async def open(self, tasks: TaskGroup) -> None:
        """Begin to serve.

        Raises:
            ConfigError: it cannot listen there.
        """
        self._listener = open_listener(self.address, where="--listen")
        save_syn(self._listener)
        self.address = Endpoint(*self._listener.getsockname()[:2])
        self.other.hold()
        if self.datagrams.open(self.address, self.other.address):
            tasks.start_soon(self.datagrams.serve)
        else:
            self.tell("no UDP: one of the ports is taken")

        async def take(accepted: socket.socket) -> None:
            tasks.start_soon(self._serve, accepted)

        tasks.start_soon(self.other.serve, take)
        tasks.start_soon(self.other.expire)
        tasks.start_soon(self._accept, self._listener, tasks)

    def close(self) -> None:
        """Stop listening."""
        self.other.close()
        self.datagrams.close()
        if self._listener is not None:
            self._listener.close()

    def session(self, name: bytes | None, peer: str) -> Session:
        """The session of this name, or a new one without a name.

        Raises:
            ProtocolError: there is none, or there are too many.
        """
        now_s = real_s()
        for each in list(self._sessions.values()):
            if each.left_at_s is not None and not each.is_busy and now_s > each.left_at_s + KEEP_SESSION_S:
                self._drop(each)
        if name is not None:
            if name not in self._sessions:
                raise ProtocolError("session: this server does not know the session any more")
            return self._sessions[name]
        if len(self._sessions) >= MAX_SESSIONS:
            left = [each for each in self._sessions.values() if each.left_at_s is not None and not each.is_busy]
            if not left:
                raise ProtocolError(f"busy: this server has {MAX_SESSIONS} sessions already")
            self._drop(min(left, key=lambda each: each.left_at_s or 0.0))
        session = Session(secrets.token_bytes(SESSION_BYTES), self.token, peer, self.clock)
        self._sessions[session.name] = session
        self.tell(f"session {session.short_name} of {peer}: begins")
        return session

    def _drop(self, session: Session) -> None:
        session.stop()
        self.other.leave(session)
        del self._sessions[session.name]

    async def _accept(self, listener: socket.socket, tasks: TaskGroup) -> None:
        while True:
            await anyio.wait_readable(listener)
            try:
                accepted, _ = listener.accept()
            except OSError as error:
                if error.errno in _EXHAUSTED:
                    await anyio.sleep(_REST_S)
                continue
            tasks.start_soon(self._serve, accepted)

    async def _serve(self, accepted: socket.socket) -> None:
        try:
            stream, peer = Stream(accepted), str(Endpoint(*accepted.getpeername()[:2]))
        except OSError:
            accepted.close()
            return
        began_s = self.clock.now_s()
        try:
            first = await self._introduction(stream)
            if first.startswith(b"{"):
                await ControlConnection(self, stream, peer).serve(first)
            elif first:
                await self._perform(stream, first, began_s)
        except Exception as fault:  # a fault in one connection's handling ends that connection alone
            while isinstance(fault, ExceptionGroup):
                fault = fault.exceptions[0]
            self.tell(f"{peer}: bug: {type(fault).__name__}: {fault}")
        finally:
            stream.close()

    async def _introduction(self, stream: Stream) -> bytes:
        """The first bytes of a control line, or a head; nothing for anything else."""
        scope = anyio.CancelScope(deadline=anyio.current_time() + INTRODUCTION_S)
        self._strangers.append(scope)
        if len(self._strangers) > MAX_STRANGERS:
            self._strangers[0].cancel()
        first = b""
        try:
            with scope, suppress(Broken):
                while len(first) < HEAD_BYTES:
                    data = await stream.receive(HEAD_BYTES - len(first))
                    first += data
                    if first.startswith(b"{"):
                        return first
                    if not data or not MAGIC.startswith(first[: len(MAGIC)]):
                        return b""
                return first
        finally:
            self._strangers.remove(scope)
        return b""

    async def _perform(self, stream: Stream, head: bytes, began_s: float) -> None:
        name, number = read_head(head)
        session = self._sessions.get(name)
        if session is None or not is_genuine(head, session.key):
            return
        if number == HELD:
            await session.hold(stream)
            return
        script = session.begin(number)
        if script is not None:
            script.began_s = began_s
            try:
                await script.perform(stream, _syn_of(stream.sock))
            finally:
                session.end(number)


def _syn_of(sock: socket.socket) -> dict[str, int]:
    """What is known of the SYN, as a report has it."""
    headers = saved_syn(sock)
    tos = tos_of_syn(headers) if headers else syn_of(sock).tos
    return read_syn(headers) | ({} if tos is None else {"tos": tos})
