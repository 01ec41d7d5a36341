"""The server's side of a mapping: its sockets, what waits for a name's address, and what is dropped."""

from __future__ import annotations

import errno
import os
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any, NoReturn, cast

import anyio
import anyio.lowlevel
import pytest

from relay.address import Endpoint
from relay.events import DialFailure, FailureKind
from relay.legs import WOULD_BLOCK
from relay.loop.engine import Engine
from relay.net.connect import Connector
from relay.net.dial import Address
from relay.net.mapping import Opening, ServerLeg
from relay.net.resolve import address_of
from support.bench import DEADLINE_S, open_engine
from support.socks_udp import UdpServer, framed, udp_server, unframed

pytestmark = pytest.mark.anyio

TOO_MANY = "too many wait for their name's address"


class SlowResolver:
    """Finds addresses when it may."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, str]] = []
        self.answers: dict[str, str] = {}
        self.may_answer = anyio.Event()
        self.given_up = 0

    async def look_up(self, destination: Endpoint, client: str) -> list[Address]:
        self.asked.append((destination.host, client))
        try:
            await self.may_answer.wait()
        except BaseException:
            self.given_up += 1
            raise
        found = self.answers.get(destination.host)
        return [address_of(found, destination.port)] if found is not None else []


class Mapping:
    """The leg of a mapping, its owner, and what it has dropped."""

    def __init__(self, engine: Engine, source: str | None = None) -> None:
        self.engine = engine
        self.resolver = SlowResolver()
        self.connector = Connector(engine, overrides=(), source=source, timeout_s=DEADLINE_S)
        self.connector.resolver = cast("Any", self.resolver)
        self.refused: dict[str, str] = {}
        self.dropped: list[str] = []
        self.calls = 0
        self.leg = ServerLeg(
            engine, self.connector, lambda to: self.refused.get(to.host, ""), self.dropped.append, client="client"
        )
        self.leg.owner = cast("Any", self)

    def on_leg_ready(self, leg: object) -> None:
        self.calls += 1

    def send(self, payload: bytes, to: tuple[str, int]) -> None:
        self.leg.write(framed(payload, *to))

    def read(self) -> tuple[bytes, Endpoint] | None:
        """The next datagram's payload, and where it came from."""
        count = self.leg.receive_into(self.engine.buffer)
        return unframed(bytes(self.engine.buffer[:count])) if count != WOULD_BLOCK else None

    async def hear(self) -> tuple[bytes, Endpoint]:
        """The next datagram, once the leg says that there is one."""
        while True:
            await until(lambda: self.leg.readable)
            if (heard := self.read()) is not None:
                return heard

    async def answer(self) -> None:
        """Have the resolver answer, and its answers arrive."""
        self.resolver.may_answer.set()
        await until(lambda: not self.leg._lookups)


@asynccontextmanager
async def a_mapping(source: str | None = None) -> AsyncIterator[tuple[Mapping, UdpServer]]:
    with udp_server() as server:
        async with open_engine() as (engine, faults):
            mapping = Mapping(engine, source)
            yield mapping, server
            mapping.leg.close()
        assert not faults


async def until(condition: Callable[[], object]) -> None:
    with anyio.fail_after(DEADLINE_S):
        while not condition():  # noqa: ASYNC110 - the kernel makes it true
            await anyio.sleep(0.001)


class Result:
    """How the opening of a mapping ended."""

    def __init__(self, mapping: Mapping, destination: Endpoint) -> None:
        self.what: list[Endpoint | DialFailure] = []
        self.opening = Opening(mapping.engine, mapping.leg, destination, self._connected, self.what.append)
        assert not self.what, "it is reported later"

    def _connected(self, leg: ServerLeg, destination: Endpoint) -> None:
        self.what.append(destination)


@pytest.mark.parametrize(("host", "bound"), [("192.0.2.1", "0.0.0.0"), ("a.test", "0.0.0.0"), ("2001:db8::1", "::")])
async def test_a_mapping_opens_with_a_socket_of_its_first_destinations_family(host: str, bound: str) -> None:
    async with a_mapping() as (mapping, _):
        assert mapping.leg.local is None
        result = Result(mapping, Endpoint(host, 53))
        await until(lambda: result.what)
        assert result.what == [Endpoint(host, 53)]
        assert mapping.leg.local is not None
        assert mapping.leg.local.host == bound
        assert not mapping.engine.unwatched


async def test_an_opening_that_is_given_up_opens_nothing() -> None:
    async with a_mapping() as (mapping, _):
        result = Result(mapping, Endpoint("192.0.2.1", 53))
        result.opening.abandon()
        await until(lambda: not mapping.engine._deferred)
        assert (result.what, mapping.leg.local) == ([], None)


async def test_without_a_socket_a_mapping_does_not_open_and_says_why(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> NoReturn:
        raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))

    async with a_mapping() as (mapping, _):
        monkeypatch.setattr(mapping.leg, "open", fail)
        result = Result(mapping, Endpoint("192.0.2.1", 53))
        await until(lambda: result.what)
        assert result.what == [DialFailure(FailureKind.EXHAUSTED, "no socket: too many open files")]


async def test_a_socket_that_cannot_be_watched_is_closed(monkeypatch: pytest.MonkeyPatch) -> None:
    opened: list[socket.socket] = []
    async with a_mapping() as (mapping, _):

        def full(watched: Any) -> None:
            opened.append(watched.sock)
            assert mapping.engine.unwatched == {watched.sock}
            raise OSError(errno.ENOSPC, "no space left on device")

        monkeypatch.setattr(mapping.engine, "watch", full)
        mapping.send(b"x", ("192.0.2.1", 53))
        assert mapping.dropped == ["no space left on device"]
        assert [sock.fileno() for sock in opened] == [-1]
        assert not mapping.engine.unwatched
        assert mapping.leg.local is None


async def test_sockets_send_from_the_source_and_one_of_ipv6_leaves_ipv4_alone() -> None:
    async with a_mapping("127.0.0.3") as (mapping, server):
        mapping.send(b"x", server.address)
        assert server.hear()[1][0] == "127.0.0.3"
    async with a_mapping() as (mapping, _):
        sock = mapping.leg.open(socket.AF_INET6)
        assert sock.getsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY)
        assert not sock.getblocking()


async def test_answers_of_both_families_come_with_their_sources(readiness: str) -> None:
    async with a_mapping() as (mapping, server):
        with udp_server("::1") as other:
            for each in (server, other):
                mapping.send(b"ping", each.address)
                each.echo()
            heard = {await mapping.hear(), await mapping.hear()}
            assert heard == {(b"ping", Endpoint(*each.address)) for each in (server, other)}
            assert mapping.read() is None
            assert not mapping.leg.readable
            mapping.send(b"again", server.address)
            server.echo()
            assert await mapping.hear() == (b"again", Endpoint(*server.address))
            assert mapping.calls


class Failing:
    """A socket that reports errors of earlier datagrams first."""

    def __init__(self, sock: socket.socket, errors: int) -> None:
        self._sock, self.errors = sock, errors

    def _fail(self) -> None:
        if self.errors:
            self.errors -= 1
            raise OSError(self._number, os.strerror(self._number))

    def recvfrom_into(self, buffer: memoryview) -> object:
        self._number = errno.EHOSTUNREACH
        self._fail()
        return self._sock.recvfrom_into(buffer)

    def sendto(self, payload: bytes, address: Endpoint) -> None:
        self._number = errno.ECONNREFUSED
        self._fail()
        self._sock.sendto(payload, address)


async def test_errors_of_earlier_datagrams_hide_none() -> None:
    async with a_mapping() as (mapping, server):
        sock = mapping.leg.open(socket.AF_INET)
        inner = mapping.leg._sockets[socket.AF_INET]
        for errors, dropped in ((1, []), (2, ["connection refused"])):
            inner.sock = cast("Any", Failing(sock, errors))
            mapping.send(b"x", server.address)
            assert mapping.dropped == dropped
        inner.sock = sock
        source = server.hear()[1]
        for errors, heard in ((63, True), (64, False)):
            server.sock.sendto(b"y", ("127.0.0.1", source[1]))
            inner.sock = cast("Any", Failing(sock, errors))
            assert (mapping.read() is not None) == heard
            inner.sock = sock


async def test_room_to_send_is_nothing_to_read() -> None:
    async with a_mapping() as (mapping, _):
        mapping.leg.open(socket.AF_INET)
        assert mapping.read() is None
        mapping.leg._sockets[socket.AF_INET].on_ready(False, True, False)
        assert (mapping.calls, mapping.leg.readable) == (0, False)


async def test_so_many_datagrams_wait_for_names_and_no_more() -> None:
    async with a_mapping() as (mapping, server):
        for number in range(64):
            mapping.send(b"", (f"{number % 2}.test", server.address[1]))
        assert mapping.dropped == []
        mapping.send(b"", ("0.test", server.address[1]))
        assert mapping.dropped == [TOO_MANY]
        await until(lambda: len(mapping.resolver.asked) == 2)
        assert sorted(mapping.resolver.asked) == [("0.test", "client"), ("1.test", "client")]
        await mapping.answer()
        assert mapping.dropped == [TOO_MANY, *[FailureKind.NOT_RESOLVED.value] * 64]


async def test_so_many_bytes_wait_for_names_and_no_more() -> None:
    async with a_mapping() as (mapping, server):
        for name in ("a.test", "b.test"):
            mapping.send(bytes(64 * 1024), (name, server.address[1]))
        assert mapping.dropped == []
        mapping.send(b"x", ("a.test", server.address[1]))
        assert mapping.dropped == [TOO_MANY]


async def test_a_name_is_looked_up_once_and_what_waited_is_sent_in_order_when_thawed() -> None:
    async with a_mapping() as (mapping, server):
        to = ("a.test", server.address[1])
        mapping.resolver.answers["a.test"] = "127.0.0.1"
        for payload in (b"one", b"two"):
            mapping.send(payload, to)
        mapping.leg.freeze()
        assert not mapping.leg.has_room
        await mapping.answer()
        assert len(mapping.leg._late) == 2
        mapping.leg.thaw()
        assert mapping.leg.has_room
        assert mapping.calls
        mapping.send(b"three", to)
        assert [server.hear()[0] for _ in range(3)] == [b"one", b"two", b"three"]
        assert len(mapping.resolver.asked) == 1


async def test_a_mapping_that_ends_gives_up_its_look_ups_and_its_sockets() -> None:
    async with a_mapping() as (mapping, server):
        sock = mapping.leg.open(socket.AF_INET)
        mapping.send(b"kept", ("a.test", server.address[1]))
        await until(lambda: mapping.resolver.asked)
        mapping.leg.close()
        assert (sock.fileno(), mapping.leg._waiting, mapping.leg._lookups) == (-1, {}, {})
        await until(lambda: mapping.resolver.given_up)
        mapping.send(b"late", server.address)
        assert mapping.dropped == []
        assert mapping.read() is None


async def test_why_nothing_is_sent_somewhere_is_asked_once() -> None:
    async with a_mapping() as (mapping, _):
        mapping.refused["192.0.2.1"] = "to nowhere"
        mapping.send(b"x", ("192.0.2.1", 53))
        mapping.refused.clear()
        mapping.send(b"x", ("192.0.2.1", 53))
        assert mapping.dropped == ["to nowhere"] * 2


async def test_a_mapping_remembers_so_many_destinations(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("relay.net.mapping._MAX_NAMES", 3)
    async with a_mapping() as (mapping, _):
        for number in range(4):
            mapping.refused[f"192.0.2.{number}"] = "to nowhere"
            mapping.send(b"x", (f"192.0.2.{number}", 53))
        assert [each.host for each in mapping.leg._found] == ["192.0.2.1", "192.0.2.2", "192.0.2.3"]
