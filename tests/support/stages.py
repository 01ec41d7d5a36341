"""Flows that have come to a certain stage: of every front end, and of every kind of plain HTTP exchange.

A `Stage` brings one flow there with plain sockets and without a thread: the test itself is client and server. Both
sockets stay open, so that a test can have either side leave in a way of its choice.
"""

from __future__ import annotations

import contextlib
import select
import socket
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TypeAlias

from relay.testing import RunningRelay
from support.clients import whole_request
from support.origins import black_hole, read_exactly, refusing_port, reset

TUNNELS = ("socks4", "socks4a", "socks5", "http-connect", "forward", "inbound")
"""The front ends that carry bytes as they are."""
HOST, _NAME = "127.0.0.1", "origin.test"
_GRANT_BYTES = {"socks4": 8, "socks4a": 8, "socks5": 2 + 10, "http-connect": len(b"HTTP/1.1 200 ") + 26}
_WAIT_S = 60.0
_TAKES_NO_MORE_MS = 20
_SMALL_BYTES = 4096  # a receive buffer that is soon full


@dataclass(frozen=True)
class Parties:
    """The sockets at both ends of one flow; there is no server as long as none is reached."""

    client: socket.socket
    server: socket.socket | None = None


@dataclass
class Place:
    """A relay, and the servers that its clients ask for."""

    nat: RunningRelay
    server_port: int
    dead_port: int
    """Nothing answers a SYN to it."""
    refusing_port: int
    _listener: socket.socket
    _sockets: contextlib.ExitStack

    def __post_init__(self) -> None:
        ways = {"forward": self.nat.forward, "inbound": self.nat.forward_inbound}
        ports = (self.server_port, self.dead_port, self.refusing_port)
        self._forwards = {
            (name, port): open_forward(HOST, port) for name, open_forward in ways.items() for port in ports
        }

    def call(self, front_end: str, port: int) -> socket.socket:
        """Connect to a front end that can ask for this port; nothing is said yet."""
        address = self._forwards.get((front_end, port), self.nat.address)
        return self._sockets.enter_context(socket.create_connection(address, timeout=_WAIT_S))

    def ask(self, front_end: str, port: int) -> socket.socket:
        """Connect to a front end and ask for this port, without a look at the answer."""
        client = self.call(front_end, port)
        client.sendall(whole_request(front_end, _NAME if front_end == "socks4a" else HOST, port))
        return client

    def accept(self) -> socket.socket:
        """The server's end of the latest flow."""
        server, _ = self._listener.accept()
        server.settimeout(_WAIT_S)
        return self._sockets.enter_context(server)


@contextlib.contextmanager
def open_place(nat: RunningRelay) -> Iterator[Place]:
    """A place around a relay; its sockets are closed in the end."""
    with contextlib.ExitStack() as sockets, black_hole() as dead_port, refusing_port() as refused_port:
        listener = sockets.enter_context(socket.create_server((HOST, 0), backlog=512))
        listener.settimeout(_WAIT_S)
        port = listener.getsockname()[1]
        for each in (port, dead_port, refused_port):
            nat.resolve(_NAME, each, HOST)
        yield Place(nat, port, dead_port, refused_port, listener, sockets)


Stage: TypeAlias = Callable[[Place], Parties]
_TunnelStage: TypeAlias = Callable[[Place, str], Parties]


def _stages() -> Iterator[tuple[str, Stage]]:
    yield "the proxy, nothing said", lambda place: Parties(place.call("proxy", place.server_port))
    for front_end in TUNNELS:
        asks = front_end not in ("forward", "inbound")
        for name, stage in {**_TUNNEL_STAGES, **(_ASKING_STAGES if asks else {})}.items():
            yield f"{front_end}, {name}", _through(front_end, stage)
    for name, stage in _FULL_STAGES.items():
        yield f"socks5, {name}", _through("socks5", stage)
    for name, exchange in _HTTP_STAGES.items():
        yield f"http, {name}", exchange


# Tunnels


def _through(front_end: str, stage: _TunnelStage) -> Stage:
    return lambda place: stage(place, front_end)


def _half_asked(place: Place, front_end: str) -> Parties:
    client = place.call(front_end, place.server_port)
    client.sendall(whole_request(front_end, HOST, place.server_port)[:-3])
    return Parties(client)


def _dialling(place: Place, front_end: str, early: bytes = b"") -> Parties:
    client = place.ask(front_end, place.dead_port)
    client.sendall(early)
    return Parties(client)


def _granted(place: Place, front_end: str, words: bytes = b"", answer: bytes = b"") -> tuple[socket.socket, ...]:
    client = place.ask(front_end, place.server_port)
    server = place.accept()
    read_exactly(client, _GRANT_BYTES.get(front_end, 0))
    client.sendall(words)
    read_exactly(server, len(words))
    server.sendall(answer)
    return client, server


def _half_closed_by(leaver: int) -> _TunnelStage:
    def stage(place: Place, front_end: str) -> Parties:
        both = _granted(place, front_end, b"request", b"response")
        read_exactly(both[0], len(b"response"))
        both[leaver].shutdown(socket.SHUT_WR)
        assert both[1 - leaver].recv(1) == b""
        return Parties(*both)

    return stage


def _full_towards(reader: int) -> _TunnelStage:
    def stage(place: Place, front_end: str) -> Parties:
        both = _granted(place, front_end)
        both[reader].setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _SMALL_BYTES)
        _fill(both[1 - reader])
        return Parties(*both)

    return stage


def _fill(sock: socket.socket) -> None:
    """Send until nothing more is taken for a while."""
    poll = select.poll()
    poll.register(sock, select.POLLOUT)
    sock.setblocking(False)
    while poll.poll(_TAKES_NO_MORE_MS):
        with contextlib.suppress(BlockingIOError):
            sock.send(bytes(1 << 16))
    sock.settimeout(_WAIT_S)


_TUNNEL_STAGES: dict[str, _TunnelStage] = {
    "dialling": _dialling,
    "dialling with early data": lambda place, front_end: _dialling(place, front_end, b"early"),
    "granted": lambda place, front_end: Parties(*_granted(place, front_end)),
    "request under way": lambda place, front_end: Parties(*_granted(place, front_end, b"half a requ")),
    "response under way": lambda place, front_end: Parties(*_granted(place, front_end, b"request", b"half a resp")),
    "the client has half-closed": _half_closed_by(0),
    "the server has half-closed": _half_closed_by(1),
}
_ASKING_STAGES: dict[str, _TunnelStage] = {"half a request": _half_asked}
_FULL_STAGES: dict[str, _TunnelStage] = {
    "dialling with all the early data that is taken": lambda place, front_end: _dialling(
        place, front_end, bytes(100_000)
    ),
    "a server that reads nothing": _full_towards(1),
    "a client that reads nothing": _full_towards(0),
}

# Plain HTTP

OK = b"HTTP/1.1 200 OK\r\n"
WHOLE = OK + b"Content-Length: 2\r\n\r\nok"
_PART = OK + b"Content-Length: 9\r\n\r\npart"


def http_request(port: int, method: str = "GET", *fields: str, body: str = "") -> bytes:
    head = [f"{method} http://{HOST}:{port}/ HTTP/1.1", f"Host: {HOST}:{port}", *fields]
    return "\r\n".join([*head, "", body]).encode()


def exchange(*requests: tuple[str, ...], answer: bytes = b"", body: str = "", elsewhere: bool = False) -> Stage:
    """These requests at once, the last with a body; the server has had the first one's head and given an answer."""

    def stage(place: Place) -> Parties:
        client = place.call("http", place.server_port)
        asked = [http_request(place.server_port, *request) for request in requests]
        asked[-1] += body.encode()
        if elsewhere:
            asked.append(http_request(place.dead_port))
        client.sendall(b"".join(asked))
        server = place.accept()
        head = b""
        while b"\r\n\r\n" not in head:
            head += read_exactly(server, 1)
        server.sendall(answer)
        if answer:
            assert client.recv(len(answer))  # its head is not the same any more
        return Parties(client, server)

    return stage


def _asked_of_the_dead(request: Callable[[int], bytes]) -> Stage:
    def stage(place: Place) -> Parties:
        client = place.call("http", place.dead_port)
        client.sendall(request(place.dead_port))
        return Parties(client)

    return stage


def _full_exchange(towards: int) -> Stage:
    def stage(place: Place) -> Parties:
        both = exchange(("POST", "Content-Length: 99999999"))(place)
        assert both.server is not None
        reader, writer = (both.server, both.client) if towards else (both.client, both.server)
        reader.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _SMALL_BYTES)
        if not towards:
            writer.sendall(OK + b"Content-Length: 99999999\r\n\r\n")
        _fill(writer)
        return both

    return stage


GET, POST, CHUNKED = ("GET",), ("POST", "Content-Length: 9"), ("POST", "Transfer-Encoding: chunked")
_HTTP_STAGES: dict[str, Stage] = {
    "half a request": _asked_of_the_dead(lambda port: http_request(port)[:-3]),
    "dialling for a GET": _asked_of_the_dead(http_request),
    "dialling for a POST": _asked_of_the_dead(lambda port: http_request(port, *POST, body="part")),
    "dialling for the next request": exchange(GET, answer=WHOLE, elsewhere=True),
    "a GET without an answer": exchange(GET),
    "a POST amid its body": exchange(POST, body="part"),
    "a POST amid a chunk": exchange(CHUNKED, body="9\r\npart"),
    "a POST that waits for 100": exchange((*POST, "Expect: 100-continue")),
    "a response to a POST amid its body": exchange(POST, body="part", answer=_PART),
    "a response to half a POST": exchange(POST, body="part", answer=WHOLE),
    "amid a response": exchange(GET, answer=_PART),
    "amid a chunk of a response": exchange(GET, answer=OK + b"Transfer-Encoding: chunked\r\n\r\n"),
    "amid a response without a length": exchange(GET, answer=OK + b"Connection: close\r\n\r\n"),
    "between two requests": exchange(GET, answer=WHOLE),
    "amid the second request": exchange(GET, body="GET http:", answer=WHOLE),
    "pipelined requests": exchange(GET, GET),
    "pipelined requests amid a response": exchange(GET, GET, answer=_PART),
    "a pipelined request to another server": exchange(GET, elsewhere=True),
    "so many pipelined requests that no more are read": exchange(*[GET] * 2000),
    "after a switch of protocols": exchange(
        ("GET", "Connection: Upgrade", "Upgrade: x"),
        answer=b"HTTP/1.1 101 Go\r\nConnection: Upgrade\r\nUpgrade: x\r\n\r\n",
    ),
    "a server that reads no body": _full_exchange(1),
    "a client that reads no response": _full_exchange(0),
}

STAGES: dict[str, Stage] = dict(_stages())
"""Every stage by its name."""


# Ways to leave


def _half_close(sock: socket.socket) -> None:
    sock.shutdown(socket.SHUT_WR)


def _half_close_and_reset(sock: socket.socket) -> None:
    sock.shutdown(socket.SHUT_WR)
    reset(sock)


LEAVINGS: dict[str, Callable[[socket.socket], None]] = {
    "FIN": _half_close,
    "close": socket.socket.close,
    "RST": reset,
    "FIN and RST": _half_close_and_reset,
}
"""Every way that a side may leave."""
