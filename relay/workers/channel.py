"""The messages between a worker and the process that started it: objects, over a pair of connected sockets.

    parent --> worker    Start, then Do for each command
    worker --> parent    Ready or an error, then the event log's records, Done for each Do, in their order, and Totals,
                         each in place of those before

Each object is pickled, with its length before it. When the parent's half is closed the worker ends now, whether the
parent closed it or was killed: the kernel closes it all the same. The parent sends little, so it never blocks for long;
a worker sends much, through an outbox.
"""

from __future__ import annotations

import copyreg
import pickle
import socket
import struct
from contextlib import suppress
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

import anyio

from relay.clock import NatClock
from relay.config import RelayConfig
from relay.control import Command
from relay.errors import RelayError
from relay.fidelity import QuirkFidelity
from relay.server import Share

_LENGTH = struct.Struct("!I")
_CHUNK_BYTES = 1 << 18


@dataclass(frozen=True, slots=True)
class Start:
    """What a worker is to do."""

    config: RelayConfig
    share: Share
    clock: NatClock
    """A copy of the parent's event log's."""
    tell: bool
    """Whether the parent wants the records."""
    commands: tuple[Command[object], ...] = ()
    """What to carry out first; that is not recorded."""


@dataclass(frozen=True, slots=True)
class Ready:
    """The worker serves; how well each quirk shows there."""

    fidelity: list[QuirkFidelity]


@dataclass(frozen=True, slots=True)
class Do:
    """Carry out a command."""

    command: Command[object]


@dataclass(frozen=True, slots=True)
class Done:
    """The command was carried out; or `error` says why not."""

    result: object = None
    error: RelayError | None = None


class Channel:
    """One end."""

    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock
        self._received = bytearray()

    def send(self, message: object) -> None:
        """Send an object; blocks while the other end is far behind.

        Raises:
            OSError: the other end is gone.
        """
        self._sock.sendall(frame(message))

    async def receive(self) -> object:
        """The other end's next object.

        Raises:
            EOFError: it says nothing more; what it had only begun to say is lost.
        """
        while (message := self._next()) is None:
            await anyio.wait_readable(self._sock)
            try:
                data = self._sock.recv(_CHUNK_BYTES)
            except ConnectionResetError:  # it ended before it had read everything
                data = b""
            if not data:
                raise EOFError
            self._received += data
        return message

    def close_sending(self) -> None:
        """Close this end."""
        with suppress(OSError):  # the other end is gone
            self._sock.shutdown(socket.SHUT_WR)

    def close(self) -> None:
        self._sock.close()

    def _next(self) -> object | None:
        if len(self._received) < _LENGTH.size:
            return None
        end = _LENGTH.size + _LENGTH.unpack_from(self._received)[0]
        if len(self._received) < end:
            return None
        body = bytes(self._received[_LENGTH.size : end])
        del self._received[:end]
        message: object = pickle.loads(body)  # noqa: S301 - no other program has the other end
        return message


def frame(message: object) -> bytes:
    """An object as the other end's `receive` wants it."""
    body = pickle.dumps(message)
    return _LENGTH.pack(len(body)) + body


def _read_only(items: dict[Any, Any]) -> MappingProxyType[Any, Any]:
    return MappingProxyType(items)


# A profile's settings are such mappings, which pickle does not know by itself.
copyreg.pickle(MappingProxyType, lambda mapping: (_read_only, (dict(mapping),)))
