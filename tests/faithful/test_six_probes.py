"""Six things that an app can tell a relay from a cable by, each tried without the relay and through every front end.

What a probe finds without the relay is what it has to find through it; the refusal alone has other words in each
protocol.
"""

from __future__ import annotations

import errno
import queue
import select
import socket
from collections.abc import Callable
from typing import TypeAlias

import pytest

from relay.testing import RunningRelay, serve_in_thread
from support.clients import FRONT_ENDS, Refused, connect
from support.origins import (
    Origin,
    read_exactly,
    read_to_end,
    read_until_over,
    refusing_port,
    reset,
    wait_until_acknowledged,
)

BEFORE_RST = bytes(range(256)) * 1200
"""300 kB: more than one read of anybody's, and more than fits an untouched receive buffer."""
BEFORE_LATE_READER = BEFORE_RST[:150_000]
"""What every kernel takes in for an app that asks for a large buffer and reads nothing."""
RST_WITHIN_MS = 10_000

Dial: TypeAlias = Callable[..., socket.socket]


def half_close_by_client(dial: Dial) -> object:
    """The client ends its request with a FIN; is it answered?"""

    def answer_at_end(connection: socket.socket) -> None:
        connection.sendall(b"answer to " + read_to_end(connection))

    with Origin(answer_at_end) as origin, dial(origin.port) as client:
        client.sendall(b"request")
        client.shutdown(socket.SHUT_WR)
        return read_until_over(client)


def half_close_by_server(dial: Dial) -> object:
    """The server ends its answer with a FIN; does it get what the client says then?"""
    received: queue.Queue[bytes] = queue.Queue()

    def fall_silent(connection: socket.socket) -> None:
        connection.sendall(b"all I have to say")
        connection.shutdown(socket.SHUT_WR)
        received.put(read_to_end(connection))

    with Origin(fall_silent) as origin, dial(origin.port) as client:
        words = read_until_over(client)
        client.sendall(b"late words, ")
        client.sendall(b"and later ones")
        client.shutdown(socket.SHUT_WR)
        return words, received.get(timeout=60)


def rst_by_server(dial: Dial) -> object:
    """The server sends, is acknowledged, and resets; the client reads all along."""
    with Origin(send_and_reset(BEFORE_RST)) as origin, dial(origin.port) as client:
        return read_until_over(client)


def rst_by_server_before_the_client_reads(dial: Dial) -> object:
    """Likewise, but the client reads only after the RST is there."""
    with Origin(send_and_reset(BEFORE_LATE_READER, when_told=True)) as origin, dial(origin.port) as client:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4 * len(BEFORE_LATE_READER))
        client.sendall(b"begin")
        poll = select.poll()
        poll.register(client, 0)  # errors alone
        assert poll.poll(RST_WITHIN_MS), "no RST came"
        return read_until_over(client)


def rst_by_client(dial: Dial) -> object:
    """The client sends, is acknowledged, and resets."""
    received: queue.Queue[tuple[bytes, str]] = queue.Queue()
    with Origin(lambda connection: received.put(read_until_over(connection))) as origin:
        with dial(origin.port) as client:
            client.sendall(BEFORE_RST)
            wait_until_acknowledged(client)
            reset(client)
        return received.get(timeout=60)


def rst_by_client_after_its_fin(dial: Dial) -> object:
    """The client ends its half, and resets amid the answer."""
    received: queue.Queue[tuple[bytes, str]] = queue.Queue()

    def answer_for_ever(connection: socket.socket) -> None:
        received.put((read_to_end(connection), "fin"))
        poll = select.poll()
        poll.register(connection, 0)
        try:
            while not poll.poll(5):  # in ms
                connection.sendall(b"answer")
        except ConnectionError:
            pass  # the RST came before the poll
        received.put((b"", "rst"))

    with Origin(answer_for_ever) as origin, dial(origin.port) as client:
        client.sendall(b"request")
        client.shutdown(socket.SHUT_WR)
        read_exactly(client, 6)
        reset(client)
        return received.get(timeout=60), received.get(timeout=60)


def early_bytes(dial: Dial) -> object:
    """The client's first words are in the segment that asks for the connection."""

    def echo_ten(connection: socket.socket) -> None:
        connection.sendall(read_exactly(connection, 10))

    with Origin(echo_ten) as origin, dial(origin.port, early=b"early word") as client:
        return read_until_over(client)


def send_and_reset(data: bytes, *, when_told: bool = False) -> Callable[[socket.socket], None]:
    def handle(connection: socket.socket) -> None:
        if when_told:
            read_exactly(connection, 5)
        connection.sendall(data)
        wait_until_acknowledged(connection)
        reset(connection)

    return handle


WITHOUT_RELAY: dict[Callable[[Dial], object], object] = {
    half_close_by_client: (b"answer to request", "fin"),
    half_close_by_server: ((b"all I have to say", "fin"), b"late words, and later ones"),
    rst_by_server: (BEFORE_RST, "rst"),
    rst_by_server_before_the_client_reads: (BEFORE_LATE_READER, "rst"),
    rst_by_client: (BEFORE_RST, "rst"),
    rst_by_client_after_its_fin: ((b"request", "fin"), (b"", "rst")),
    early_bytes: (b"early word", "fin"),
}
"""What each probe finds on a direct connection; a test below sees to it that this is so."""


def direct(port: int, early: bytes = b"") -> socket.socket:
    client = socket.create_connection(("127.0.0.1", port), timeout=20)
    client.sendall(early)
    return client


@pytest.mark.parametrize("probe", WITHOUT_RELAY, ids=lambda probe: probe.__name__)
def test_the_expectations_are_what_a_direct_connection_gives(probe: Callable[[Dial], object]) -> None:
    assert probe(direct) == WITHOUT_RELAY[probe]


@pytest.mark.parametrize("front_end", FRONT_ENDS)
@pytest.mark.parametrize("probe", WITHOUT_RELAY, ids=lambda probe: probe.__name__)
def test_a_probe_finds_through_the_relay_what_it_finds_without(
    transparent: RunningRelay, front_end: str, probe: Callable[[Dial], object]
) -> None:
    def dial(port: int, early: bytes = b"") -> socket.socket:
        return connect(transparent, front_end, "127.0.0.1", port, early=early)

    assert probe(dial) == WITHOUT_RELAY[probe]


def test_a_rst_after_a_fin_reaches_a_server_that_is_silent(backend: str) -> None:
    """Where there is no epoll it would not be noticed before the server's next word."""
    ended: queue.Queue[bool] = queue.Queue()

    def wait_for_rst(connection: socket.socket) -> None:
        read_to_end(connection)
        poll = select.poll()
        poll.register(connection, 0)
        ended.put(bool(poll.poll(RST_WITHIN_MS)))

    with serve_in_thread("transparent", backend=backend) as nat, Origin(wait_for_rst) as origin:
        with connect(nat, "socks5", "127.0.0.1", origin.port) as client:
            client.shutdown(socket.SHUT_WR)
            nat.wait_for("fin-sent", side="external")
            reset(client)
        assert ended.get(timeout=20)


REFUSALS = {
    "direct": "ECONNREFUSED",
    "forward": "ECONNRESET",  # an approximation: the kernel has accepted before anybody was asked
    "socks4": 0x5B,
    "socks5": 5,
    "http-connect": 502,
}


@pytest.mark.parametrize("front_end", REFUSALS)
def test_a_refusal_keeps_its_code(transparent: RunningRelay, front_end: str) -> None:
    with refusing_port() as port:
        assert what_comes_of_it(transparent, front_end, port) == REFUSALS[front_end]


def what_comes_of_it(nat: RunningRelay, front_end: str, port: int) -> object:
    try:
        with connect(nat, front_end, "127.0.0.1", port) as client:
            return client.recv(1)
    except ConnectionError as error:  # from connect or recv: a forward's RST may come before either
        return errno.errorcode[error.errno or 0]
    except Refused as refused:
        return refused.code


def test_the_text_of_a_502_says_refused(transparent: RunningRelay) -> None:
    with refusing_port() as port, pytest.raises(Refused, match=rf"refused.*127\.0\.0\.1:{port}"):
        connect(transparent, "http-connect", "127.0.0.1", port)


@pytest.mark.parametrize("front_end", FRONT_ENDS)
def test_a_late_reader_of_any_buffer_gets_all_that_came_before_the_rst(
    transparent: RunningRelay, front_end: str
) -> None:
    with (
        Origin(send_and_reset(BEFORE_RST)) as origin,
        connect(transparent, front_end, "127.0.0.1", origin.port) as client,
    ):
        transparent.wait_for("rst-received", side="external")
        assert read_until_over(client) == (BEFORE_RST, "rst")
