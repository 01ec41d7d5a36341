"""The control: an HTTP server beside a relay, in the same event loop.

It accepts on a socket of its own and serves each client in a task. The relay's flows have no task and pay nothing.
h11 parses what comes. A framework would bring its own event loop, server and signals, for a dozen routes.
"""

from __future__ import annotations

import errno
import os
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import anyio
from anyio.abc import TaskGroup

from relay.address import Endpoint
from relay.control_api.connection import Connection
from relay.control_api.exchange import Refused
from relay.control_api.guard import Guard
from relay.control_api.history import History
from relay.control_api.routes import Routes
from relay.control_api.spec import ControlSpec
from relay.errors import ConfigError
from relay.loop.forks import close_in_children, held
from relay.net.listen import open_listener
from relay.server import Started

MAX_CLIENTS = 256
_REST_S = 0.1  # when no descriptor is left


class ControlServer:
    """Listens from the moment it is made; `run` serves."""

    def __init__(self, spec: ControlSpec, relay: Started, history: History) -> None:
        """Begin to listen.

        Raises:
            ConfigError: the address cannot be listened on.
        """
        is_path = isinstance(spec.bind, Path)
        self._history = history
        self._limited = relay.limited
        guard = Guard(hosts=spec.hosts, token=spec.token, any_host=is_path)
        self._routes = Routes(relay, history, guard, spec)
        self._path = spec.bind if isinstance(spec.bind, Path) else None
        self._sock = _listen_at(spec.bind) if isinstance(spec.bind, Path) else _listen(spec.bind)
        self._clients = 0

    @property
    def url(self) -> str:
        """Where a browser finds it; of a Unix socket, `unix:PATH`."""
        if self._path is not None:
            return f"unix:{self._path}"
        address = Endpoint(*self._sock.getsockname()[:2])
        if address.ip is not None and address.ip.is_unspecified:
            address = Endpoint("::1" if address.ip.version == 6 else "127.0.0.1", address.port)
        return f"http://{address}"

    async def populate(self, proxies: bytes) -> None:
        """Make the proxies that there are from the start.

        Raises:
            ConfigError: one of them is wrong, or cannot listen.
        """
        try:
            await self._routes.populate(proxies)
        except Refused as error:
            raise ConfigError(f"-config: {error}", hint=error.hint) from None

    async def run(self) -> None:
        """Serve until cancelled."""
        try:
            async with anyio.create_task_group() as tasks:
                await self._serve_next(tasks)
        finally:
            self.close()

    def close(self) -> None:
        """Listen no more, and follow the log no more. Harmless when repeated."""
        self._sock.close()
        self._history.close()
        if self._path is not None:
            self._path.unlink(missing_ok=True)

    async def _serve_next(self, tasks: TaskGroup) -> None:
        """Serve the next client at once, and have another task wait for the one after: no turn of the loop is lost."""
        client = await self._accept()
        tasks.start_soon(self._serve_next, tasks)
        if self._clients >= MAX_CLIENTS:
            client.close()
        else:
            await self._serve(client)

    async def _accept(self) -> socket.socket:
        while True:
            await anyio.wait_readable(self._sock)
            try:
                with held:
                    client, _ = self._sock.accept()
                    close_in_children(client)
                return client
            except OSError as error:  # another process has it, or its client is gone: wait for the next
                if error.errno in {errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM}:
                    with self._limited(_REST_S):
                        await anyio.sleep_forever()

    async def _serve(self, client: socket.socket) -> None:
        self._clients += 1
        try:
            await Connection(client, self._routes, self._limited).serve()
        finally:
            self._clients -= 1


@asynccontextmanager
async def open_control(spec: ControlSpec, relay: Started, history: History) -> AsyncIterator[ControlServer]:
    """Serve for as long as the block lasts; what the block raises comes out as it is.

    Raises:
        ConfigError: the address cannot be listened on, or a proxy to begin with is wrong.
        BaseExceptionGroup: the block and the server have failed, both.
    """
    server = ControlServer(spec, relay, history)
    try:
        if spec.proxies is not None:
            await server.populate(spec.proxies)
    except BaseException:
        server.close()
        raise
    failure: BaseException | None = None
    try:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(server.run)
            try:
                yield server
            except BaseException as raised:
                if _cancels(raised):
                    raise
                failure = raised  # a task group would wrap it, and trio would make a group of the block's own anew
            finally:
                tasks.cancel_scope.cancel()
    except BaseExceptionGroup as group:
        if failure is not None:
            raise BaseExceptionGroup("the block and the control have failed", [failure, *group.exceptions]) from None
        if len(group.exceptions) > 1:
            raise
        failure = group.exceptions[0]
    if failure is not None:  # raised here, where the group does not become its context
        raise failure


def _cancels(error: BaseException) -> bool:
    """Whether there is a cancellation in it, which is for its scope to catch."""
    kind = anyio.get_cancelled_exc_class()
    return isinstance(error, kind) or (isinstance(error, BaseExceptionGroup) and error.subgroup(kind) is not None)


def _listen(bind: Endpoint) -> socket.socket:
    return open_listener(bind, where="--control")


def _listen_at(path: Path) -> socket.socket:
    """A Unix socket for this user alone. One that is left of a relay that is gone is replaced.

    Raises:
        ConfigError: there is something else, or a relay that listens.
    """
    if not hasattr(socket, "AF_UNIX"):
        raise ConfigError("--control: this system has no Unix sockets", hint="give HOST:PORT")
    sock = socket.socket(socket.AF_UNIX)
    close_in_children(sock)
    before = os.umask(0o177)
    try:
        with suppress(OSError):
            _remove_left(path)
        sock.bind(str(path))
        sock.listen()
    except (OSError, ValueError) as error:
        sock.close()
        reason = (error.strerror or str(error)).lower() if isinstance(error, OSError) else str(error)
        hint = "name a path in a directory of yours, where nothing is yet"
        raise ConfigError(f"--control: cannot listen on unix:{path}: {reason}", hint=hint) from None
    finally:
        os.umask(before)
    sock.setblocking(False)
    return sock


def _remove_left(path: Path) -> None:
    if path.is_socket():
        with socket.socket(socket.AF_UNIX) as other:
            try:
                other.connect(str(path))
            except ConnectionRefusedError:
                path.unlink()
