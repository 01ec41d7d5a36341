"""Very many TCP connections in one process that can be killed: `support.masses` runs it, and talks to it.

It is an origin, which sends back whatever comes, or a crowd of clients that do what standard input says, one command a
line. Each is answered by a line of JSON that counts what became of the connections:

    call N      N more connections to the relay, that say nothing
    ask         ask for the target through SOCKS5 over all, and do not read: `asked`
    replies     what came of that: `granted`, `refused-CODE`, or ended instead
    open N      N more that ask, and what came of it, likewise
    ping        a byte over each: `echoed`
    load        send and receive over all, up to the next command; answered when each has had an echo
    hoard       send over all until nothing more is taken, and receive nothing: `bytes`
    end         send a FIN over each, read to the end: `whole` if all that was sent has come back
    ended       wait until each was ended by the other side
    reset       reset all

An end is `fin` or `rst`; a connection of which nothing is heard in time is `silent`.
"""

from __future__ import annotations

import collections
import contextlib
import json
import select
import socket
import struct
import sys
import time
from collections.abc import Callable, Sequence
from typing import TypeAlias

_BLOCK = bytes(range(256)) * 64
_BOTH = select.EPOLLIN | select.EPOLLOUT
_DEADLINE_S = 40.0
_STALL_S = 0.5  # nothing more is taken
_AT_ONCE = 256  # as many as a backlog holds
_REPLIES_BYTES = 12  # to the greeting and, with an IPv4 address in it, to the request
_IP_BIND_ADDRESS_NO_PORT = 24  # linux/in.h: the port is picked at connect, for that target alone

Told: TypeAlias = "collections.Counter[str]"


class Origin:
    """Echoes, on a port that it prints on stdout, for as long as the process lives."""

    def __init__(self) -> None:
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=1024)
        self._listener.setblocking(False)
        self._poll = select.epoll()
        self._poll.register(self._listener, select.EPOLLIN)
        self._sockets: dict[int, socket.socket] = {}
        self._unsent: dict[int, bytes] = {}

    def serve(self) -> None:
        _tell(self._listener.getsockname()[1])
        while True:
            for descriptor, _ in self._poll.poll():
                if descriptor == self._listener.fileno():
                    self._accept()
                else:
                    self._echo(descriptor)

    def _accept(self) -> None:
        try:
            while True:
                accepted, _ = self._listener.accept()
                accepted.setblocking(False)
                self._sockets[accepted.fileno()] = accepted
                self._poll.register(accepted, select.EPOLLIN)
        except BlockingIOError:
            pass

    def _echo(self, descriptor: int) -> None:
        sock = self._sockets[descriptor]
        data = self._unsent.pop(descriptor, b"")
        try:
            data = data or sock.recv(65536)
            if not data:
                raise ConnectionError
            data = data[sock.send(data) :]
        except BlockingIOError:
            pass
        except OSError:
            del self._sockets[descriptor]
            sock.close()
            return
        if data:
            self._unsent[descriptor] = data
        self._poll.modify(descriptor, select.EPOLLOUT if data else select.EPOLLIN)


class Connection:
    """One of the clients' connections."""

    def __init__(self, relay_port: int, source: str) -> None:
        self.sock = socket.socket()
        self.sock.setsockopt(socket.IPPROTO_IP, _IP_BIND_ADDRESS_NO_PORT, 1)
        self.sock.bind((source, 0))
        self.sock.connect(("127.0.0.1", relay_port))
        self.sock.setblocking(False)
        self.end: str | None = None
        self.reply = b""
        """What has come while the relay was to be heard."""
        self.sent_bytes = self.received_bytes = self.mark_bytes = 0

    def send(self, data: bytes) -> int:
        count = 0
        try:
            count = self.sock.send(data)
        except BlockingIOError:
            pass
        except ConnectionError:
            self.end = "rst"  # reading would not tell any more
        self.sent_bytes += count
        return count

    def receive(self) -> bytes:
        """Read once, and note the end if this was it."""
        data = b""
        try:
            data = self.sock.recv(65536)
            if not data:
                self.end = self.end or "fin"
        except BlockingIOError:
            pass
        except OSError:
            self.end = "rst"
        self.received_bytes += len(data)
        return data

    def read_replies(self) -> str | None:
        """Read what the relay answers to greeting and request."""
        self.reply += self.receive()
        if len(self.reply) < _REPLIES_BYTES:
            return None
        self.sent_bytes = self.received_bytes = 0
        return f"refused-{self.reply[3]}" if self.reply[3] else "granted"

    def read_echoes(self) -> str | None:
        self.receive()
        return "echoed" if self.received_bytes == self.sent_bytes else None

    def begin_load(self) -> str | None:
        self.go_on()
        return "echoed" if self.received_bytes > self.mark_bytes else None

    def go_on(self) -> str | None:
        self.send(_BLOCK)
        self.receive()
        return None

    def read_to_end(self) -> str | None:
        self.receive()
        return "whole" if self.end == "fin" and self.received_bytes == self.sent_bytes else None


class Clients:
    """The crowd."""

    def __init__(self, relay_port: int, target_port: int) -> None:
        self._relay_port = relay_port
        request = b"\x05\x01\x00\x01" + socket.inet_aton("127.0.0.1") + struct.pack(">H", target_port)
        self._handshake = b"\x05\x01\x00" + request
        self._connections: list[Connection] = []

    def obey(self) -> None:
        for line in iter(sys.stdin.readline, ""):
            command, *arguments = line.split()
            _tell(getattr(self, f"do_{command}")(*map(int, arguments)))
            if command == "load":
                _until(self._connections, Connection.go_on, _BOTH, or_told=True)

    def do_call(self, count: int) -> dict[str, int]:
        for index in range(count):
            # One address has some 28,000 ports for one target.
            self._connections.append(Connection(self._relay_port, f"127.0.1.{1 + index % 8}"))
        return {"called": count}

    def do_ask(self) -> dict[str, int]:
        return self._ask(self._connections)

    def do_replies(self) -> dict[str, int]:
        return _until(self._connections, Connection.read_replies)

    def do_open(self, count: int) -> dict[str, int]:
        told: Told = collections.Counter()
        for left in range(count, 0, -_AT_ONCE):
            self.do_call(min(left, _AT_ONCE))
            fresh = self._connections[-min(left, _AT_ONCE) :]
            self._ask(fresh)
            told += _until(fresh, Connection.read_replies)
        return told

    def _ask(self, connections: Sequence[Connection]) -> dict[str, int]:
        for connection in connections:
            connection.send(self._handshake)
        return {"asked": len(connections)}

    def do_ping(self) -> dict[str, int]:
        for connection in self._connections:
            connection.send(b"x")
        return _until(self._connections, Connection.read_echoes)

    def do_load(self) -> dict[str, int]:
        for connection in self._connections:
            connection.mark_bytes = connection.received_bytes
        return _until(self._connections, Connection.begin_load, _BOTH)

    def do_hoard(self) -> dict[str, int]:
        poll, by_descriptor = _watched(self._connections, select.EPOLLOUT)
        taken_bytes = 0
        while ready := poll.poll(_STALL_S):
            for descriptor, events in ready:
                taken_bytes += by_descriptor[descriptor].send(_BLOCK)
                if events & select.EPOLLHUP:
                    poll.unregister(descriptor)
        return {"bytes": taken_bytes}

    def do_end(self) -> dict[str, int]:
        for connection in self._connections:
            with contextlib.suppress(OSError):  # reset already: reading will tell
                connection.sock.shutdown(socket.SHUT_WR)
        told = _until(self._connections, Connection.read_to_end)
        self._close()
        return told

    def do_ended(self) -> dict[str, int]:
        told = _until(self._connections, _read_on)
        self._close()
        return told

    def do_reset(self) -> dict[str, int]:
        for connection in self._connections:
            connection.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        return {"rst": self._close()}

    def _close(self) -> int:
        count = len(self._connections)
        for connection in self._connections:
            connection.sock.close()
        self._connections.clear()
        return count


def _read_on(connection: Connection) -> None:
    connection.receive()


def _watched(connections: Sequence[Connection], events: int) -> tuple[select.epoll, dict[int, Connection]]:
    poll = select.epoll()
    by_descriptor = {each.sock.fileno(): each for each in connections if each.end is None}
    for descriptor in by_descriptor:
        poll.register(descriptor, events)
    return poll, by_descriptor


def _until(
    connections: Sequence[Connection],
    step: Callable[[Connection], str | None],
    events: int = select.EPOLLIN,
    *,
    or_told: bool = False,
) -> Told:
    """Take a step with each connection that is ready until it has led to something; how often to what."""
    told: Told = collections.Counter(each.end for each in connections if each.end is not None)
    poll, left = _watched(connections, events)
    if or_told:
        poll.register(sys.stdin, select.EPOLLIN)
    deadline_s = time.monotonic() + _DEADLINE_S
    with poll:
        while (left or or_told) and time.monotonic() < deadline_s:
            for descriptor, _ in poll.poll(1):
                if descriptor == sys.stdin.fileno():
                    return told
                connection = left[descriptor]
                outcome = step(connection) or connection.end
                if outcome is not None:
                    told[outcome] += 1
                    poll.unregister(descriptor)
                    del left[descriptor]
    if left:
        told["silent"] = len(left)
    return told


def _tell(answer: object) -> None:
    print(json.dumps(answer), flush=True)  # noqa: T201 - this is how it answers


if __name__ == "__main__":
    if sys.argv[1] == "origin":
        Origin().serve()
    else:
        Clients(int(sys.argv[1]), int(sys.argv[2])).obey()
