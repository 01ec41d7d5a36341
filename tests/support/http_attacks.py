"""One client of plain HTTP, and its origin, that make the relay parse as much as it can: a process of its own.

    python http_attacks.py ATTACK RELAY_PORT

It says `attacking` on stdout once its bytes flow, and goes on until it is killed. The attacks are the functions below.
"""

from __future__ import annotations

import contextlib
import itertools
import socket
import sys
import threading
from collections.abc import Callable, Iterator

_FIELDS = 16_000
_CHUNKS = b"1\r\nx\r\n" * 10_000
_CHUNKED = b"Transfer-Encoding: chunked\r\n\r\n"
_MANY_FIELDS = b"a:\r\n" * _FIELDS + b"\r\n"


def request_of_tiny_chunks(relay_port: int) -> Iterator[None]:
    """The client's body is chunks of one byte; the origin reads it."""
    port = _origin(_read_on)
    with _ask(relay_port, port, b"POST", _CHUNKED) as client:
        while True:
            client.sendall(_CHUNKS)
            yield


def response_of_tiny_chunks(relay_port: int) -> Iterator[None]:
    """The origin's body is chunks of one byte; the client reads it."""
    return _endless_response(relay_port, b"HTTP/1.1 200 OK\r\n" + _CHUNKED, _CHUNKS)


def endless_1xx(relay_port: int) -> Iterator[None]:
    """The origin's response never begins."""
    return _endless_response(relay_port, b"", b"HTTP/1.1 103 \r\n\r\n" * 5000)


def endless_1xx_of_many_fields(relay_port: int) -> Iterator[None]:
    """Each of them has as many fields as the relay takes."""
    return _endless_response(relay_port, b"", (b"HTTP/1.1 103 \r\n" + b"a:\r\n" * 256 + b"\r\n") * 50)


def requests_of_many_fields(relay_port: int) -> Iterator[None]:
    """Each request's head is as long as may be, and of as many fields."""
    port = _origin(lambda connection: _answer_each(connection, b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"))
    while True:
        with contextlib.suppress(ConnectionError), _ask(relay_port, port, b"GET", _MANY_FIELDS) as client:
            client.recv(65536)
        yield


def responses_of_many_fields(relay_port: int) -> Iterator[None]:
    """Each response's head is as long as may be, and of as many fields."""
    port = _origin(lambda connection: _answer_each(connection, b"HTTP/1.1 204 OK\r\n" + _MANY_FIELDS))
    while True:
        with _ask(relay_port, port, b"GET", b"\r\n") as client:
            client.recv(65536)
        yield


def pipelined_tiny_requests(relay_port: int) -> Iterator[None]:
    """The client does not wait for the responses, and they do not wait for it."""
    port = _origin(lambda connection: _answer_each(connection, b"HTTP/1.1 204 \r\n\r\n"))
    head = b"GET http://127.0.0.1:%d/ HTTP/1.1\r\nHost:\r\n\r\n" % port
    with _ask(relay_port, port, b"GET", b"\r\n") as client:
        threading.Thread(target=_read_on, args=(client,), daemon=True).start()
        while True:
            client.sendall(head * 1000)
            yield


def trickled_heads(relay_port: int) -> Iterator[None]:
    """Long heads come a byte at a time, over several connections."""
    line = b"GET http://127.0.0.1:1/" + b"x" * 8000 + b" HTTP/1.1\r\n"
    crowd = [socket.create_connection(("127.0.0.1", relay_port)) for _ in range(8)]
    for client in crowd:
        client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        client.sendall(line)
    for turn in itertools.count():
        for client in crowd:
            client.sendall(b"x")
        if turn % 1000 == 0:
            yield


ATTACKS: dict[str, Callable[[int], Iterator[None]]] = {
    attack.__name__: attack
    for attack in (
        request_of_tiny_chunks,
        response_of_tiny_chunks,
        endless_1xx,
        endless_1xx_of_many_fields,
        requests_of_many_fields,
        responses_of_many_fields,
        pipelined_tiny_requests,
        trickled_heads,
    )
}


def _endless_response(relay_port: int, head: bytes, rest: bytes) -> Iterator[None]:
    def answer(connection: socket.socket) -> None:
        connection.recv(65536)
        connection.sendall(head)
        while True:
            connection.sendall(rest)

    with _ask(relay_port, _origin(answer), b"GET", b"\r\n") as client:
        while client.recv(65536):
            yield


def _ask(relay_port: int, origin_port: int, method: bytes, rest: bytes) -> socket.socket:
    client = socket.create_connection(("127.0.0.1", relay_port))
    client.sendall(b"%b http://127.0.0.1:%d/ HTTP/1.1\r\nHost: h\r\n%b" % (method, origin_port, rest))
    return client


def _origin(handle: Callable[[socket.socket], object]) -> int:
    """Have each connection to the port that is returned handled in a thread."""
    listener = socket.create_server(("127.0.0.1", 0))

    def handle_one(connection: socket.socket) -> None:
        with contextlib.suppress(ConnectionError), connection:
            handle(connection)

    def accept() -> None:
        while True:
            threading.Thread(target=handle_one, args=(listener.accept()[0],), daemon=True).start()

    threading.Thread(target=accept, daemon=True).start()
    return int(listener.getsockname()[1])


def _read_on(connection: socket.socket) -> None:
    while connection.recv(65536):
        pass


def _answer_each(connection: socket.socket, response: bytes) -> None:
    """A response for each head that ends."""
    last = b""
    while data := connection.recv(65536):
        connection.sendall(response * ((last + data).count(b"\r\n\r\n")))
        last = data[-3:]


if __name__ == "__main__":
    for _ in ATTACKS[sys.argv[1]](int(sys.argv[2])):
        print("attacking", flush=True)  # noqa: T201 - this is how it tells
