"""The socket of a SOCKS5 client's datagrams: which of them begin a mapping, and what becomes of those that go wrong."""

from __future__ import annotations

import errno
import os
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any, cast

import anyio
import anyio.lowlevel
import pytest

from relay.address import Endpoint
from relay.legs import WOULD_BLOCK, Process
from relay.loop.engine import Engine
from relay.net.association import Association, reason_of
from relay.net.datagram_leg import DatagramLeg
from support.bench import DEADLINE_S, open_engine
from support.socks_udp import WITHIN_S, framed, udp_server

pytestmark = pytest.mark.anyio

SERVER = Endpoint("192.0.2.53", 53)


class Control:
    """The TCP connection of a client on loopback."""

    local: Endpoint | None = Endpoint("127.0.0.1", 1080)
    peer: Endpoint | None = Endpoint("127.0.0.1", 40_000)

    def glimpse_process(self) -> Process | None:
        return (1, "glimpsed")

    def find_process(self) -> Process | None:
        return (2, "found")


class Client:
    """An association with its client's socket, and the mappings that it has begun."""

    def __init__(self, engine: Engine, sock: socket.socket) -> None:
        self.engine = engine
        self.sock = sock
        self.begun: list[tuple[DatagramLeg, Endpoint]] = []
        self.calls = 0
        self.dropped: list[str] = []
        self.association = Association(engine, cast("Any", Control()), self._begin, self.dropped.append, port=0)

    def _begin(self, leg: DatagramLeg, destination: Endpoint) -> None:
        leg.owner = cast("Any", self)
        self.begun.append((leg, destination))

    def on_leg_ready(self, leg: DatagramLeg) -> None:
        self.calls += 1

    def send(self, payload: bytes) -> None:
        self.sock.sendto(framed(payload, *SERVER), self.association.address)

    async def first(self, payload: bytes) -> DatagramLeg:
        """The leg of the mapping that a first datagram begins."""
        self.send(payload)
        await until(lambda: self.begun)
        leg, destination = self.begun.pop()
        assert destination == SERVER
        return leg

    def read(self, leg: DatagramLeg) -> bytes | int:
        """The payload of the next datagram, or that there is none."""
        count = leg.receive_into(self.engine.buffer)
        return bytes(self.engine.buffer[10:count]) if count > 0 else count

    async def hear(self, leg: DatagramLeg) -> bytes | int:
        """The next datagram's payload, once the leg says that there is one."""
        while True:
            await until(lambda: leg.readable)
            if (heard := self.read(leg)) != WOULD_BLOCK:
                return heard


@asynccontextmanager
async def a_client() -> AsyncIterator[Client]:
    with udp_server() as end:
        async with open_engine() as (engine, faults):
            client = Client(engine, end.sock)
            assert not engine.unwatched
            yield client
            client.association.close()
        assert not faults


async def until(condition: Callable[[], object]) -> None:
    with anyio.fail_after(DEADLINE_S):
        while not condition():  # noqa: ASYNC110 - the kernel makes it true
            await anyio.sleep(0.001)


async def test_the_first_datagram_begins_a_mapping_and_is_the_first_that_its_leg_reads() -> None:
    async with a_client() as client:
        leg = await client.first(b"one")
        assert (leg.local, leg.peer) == (client.association.address, Endpoint(*client.sock.getsockname()))
        assert (leg.glimpse_process(), leg.find_process()) == ((1, "glimpsed"), (2, "found"))
        assert leg.readable
        assert [client.read(leg), client.read(leg)] == [b"one", WOULD_BLOCK]
        assert not leg.readable
        client.send(b"two")
        assert await client.hear(leg) == b"two"
        assert client.calls
        leg.write(b"answer")
        assert client.sock.recv(100) == b"answer"
        assert not client.begun


async def test_a_leg_that_is_closed_neither_reads_nor_sends_and_what_waits_begins_the_next_mapping() -> None:
    async with a_client() as client:
        leg = await client.first(b"lost with its mapping")
        client.send(b"the next one's")
        leg.close()
        assert client.read(leg) == WOULD_BLOCK
        leg.write(b"too late")
        await until(lambda: client.begun)
        (other, _) = client.begun.pop()
        assert client.read(other) == b"the next one's"
        other.write(b"in time")
        assert client.sock.recv(100) == b"in time"


async def test_what_the_socket_does_not_take_is_dropped_and_named() -> None:
    async with a_client() as client:
        client.association.send(bytes(70_000))
        assert not client.dropped, "nothing is sent before the first datagram"
        leg = await client.first(b"one")
        leg.write(bytes(70_000))
        assert client.dropped == [os.strerror(errno.EMSGSIZE).lower()]


def test_an_error_without_words_is_named_all_the_same() -> None:
    assert reason_of(OSError()) == "not sent"


class Failing:
    """A socket that reports errors of earlier datagrams first."""

    def __init__(self, sock: socket.socket, errors: int) -> None:
        self._sock, self.errors = sock, errors

    def recvfrom_into(self, buffer: memoryview) -> object:
        if self.errors:
            self.errors -= 1
            raise OSError(errno.EHOSTUNREACH, "as the test has it")
        return self._sock.recvfrom_into(buffer)


async def test_errors_of_earlier_datagrams_hide_none_and_others_have_their_turn() -> None:
    async with a_client() as client:
        association = client.association
        sock = association.sock
        await client.first(b"one")
        for errors, received in ((63, True), (64, False)):
            client.send(b"two")
            association.sock = cast("Any", Failing(sock, errors))
            found = association.receive_into(client.engine.buffer)
            assert (found is not None, len(client.engine._deferred)) == (received, not received)
            association.sock = sock
            await until(lambda: not client.engine._deferred)


async def test_an_association_that_is_closed_rests() -> None:
    async with a_client() as client:
        await client.first(b"one")
        client.send(b"two")
        client.association.close()
        client.association.release()
        for _ in range(5):
            await anyio.lowlevel.checkpoint()
        assert not client.engine._deferred
        assert not client.begun
        assert client.association.sock.fileno() < 0


@pytest.mark.parametrize("end", ["local", "peer"])
async def test_a_client_that_is_gone_has_no_association(end: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Control, end, None)
    with udp_server() as server:
        async with open_engine() as (engine, _):
            with pytest.raises(OSError, match="the client is gone"):
                Client(engine, server.sock)


async def test_a_socket_that_cannot_be_watched_is_closed(monkeypatch: pytest.MonkeyPatch) -> None:
    opened: list[socket.socket] = []
    with udp_server() as server:
        async with open_engine() as (engine, _):

            def full(watched: Any) -> None:
                opened.append(watched.sock)
                assert engine.unwatched == {watched.sock}
                raise OSError(errno.ENOSPC, "no space left on device")

            monkeypatch.setattr(engine, "watch", full)
            with pytest.raises(OSError, match="no space left"):
                Client(engine, server.sock)
            assert not engine.unwatched
    assert [sock.fileno() for sock in opened] == [-1]


async def test_a_client_hears_nothing_of_strangers_and_they_hear_nothing() -> None:
    async with a_client() as client:
        with udp_server() as stranger:
            leg = await client.first(b"one")
            client.read(leg)
            stranger.sock.sendto(framed(b"not mine", *SERVER), client.association.address)
            client.send(b"two")
            assert await client.hear(leg) == b"two"
            assert client.dropped == ["not from the client"]
            leg.write(b"answer")
            client.sock.settimeout(WITHIN_S)
            assert client.sock.recv(100) == b"answer"
