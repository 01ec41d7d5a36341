"""The host's UDP sockets: real datagrams on loopback, there and back."""

from __future__ import annotations

import errno
import socket
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, closing
from dataclasses import dataclass, field

import anyio
import pytest

from relay.address import Endpoint
from relay.loop.engine import Engine
from relay.wire.host.udp_sockets import UdpSockets
from relay.wire.mappings import End
from relay.wire.packet import UDP, Icmp, Udp, undotted
from relay.wire.udp import UdpNat
from support.bench import DEADLINE_S, advance, in_thread, open_engine
from support.capabilities import missing
from support.host_tap import SeenByTap
from support.small_nat import ADDRESSES, Guest, Outside, datagram

pytestmark = pytest.mark.anyio

IDLE_S = 60.0
HOST = "192.168.27.1"


@dataclass
class Carried:
    """A guest, and the sockets behind its UDP."""

    engine: Engine
    sockets: UdpSockets
    guest: Guest
    tap: SeenByTap
    came: anyio.Event = field(default_factory=anyio.Event)

    def send(self, source_port: int, port: int, payload: bytes, *, destination: int = ADDRESSES.host) -> None:
        self.sockets.on_datagram(*datagram(source_port, destination, port, payload))

    async def receive(self, count: int = 1) -> list[tuple[str, Udp | Icmp]]:
        """All that has come for the guest, once it is so many."""
        with anyio.fail_after(DEADLINE_S):
            while len(self.guest.received) < count:
                await self.came.wait()
                self.came = anyio.Event()
        return self.guest.received

    def settle(self) -> None:
        """Take in all that has come: on loopback that is all that was sent."""
        advance(self.engine, 0)

    def on_changed(self) -> None:
        self.came.set()


@asynccontextmanager
async def carried(
    *, host: bool = True, port_unreachable: bool = False, limit: int = 8, idle_s: float = IDLE_S
) -> AsyncIterator[Carried]:
    async with open_engine() as (engine, faults):
        guest = Guest()
        nat = UdpNat(idle_s=idle_s, port_unreachable=port_unreachable, limit=limit)
        tap = SeenByTap()
        sockets = UdpSockets(engine, nat, Outside(host=host), guest.send, tap.view)
        carrying = Carried(engine, sockets, guest, tap)
        guest.changed = carrying.on_changed
        yield carrying
        sockets.close()
        sockets.close()
    assert faults == []


def server() -> socket.socket:
    sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    sock.bind(("127.0.0.1", 0))
    sock.settimeout(DEADLINE_S)
    return sock


def port_of(sock: socket.socket) -> int:
    port: int = sock.getsockname()[1]
    return port


@pytest.fixture
def one() -> Iterator[socket.socket]:
    with closing(server()) as sock:
        yield sock


@pytest.fixture
def two() -> Iterator[socket.socket]:
    with closing(server()) as sock:
        yield sock


async def test_datagrams_pass_both_ways_and_keep_their_borders(readiness: str, one: socket.socket) -> None:
    async with carried() as guest:
        for payload in (b"", b"x", b"y" * 9000):
            guest.send(5000, port_of(one), payload)
            heard, near = await in_thread(one.recvfrom, 10_000)
            assert heard == payload
            one.sendto(payload * 2, near)
        got = await guest.receive(3)
        assert got == [(HOST, Udp(port_of(one), 5000, memoryview(payload))) for payload in (b"", b"xx", b"y" * 18_000)]


async def test_a_tap_is_shown_what_leaves_and_comes_and_for_whom(one: socket.socket) -> None:
    async with carried() as guest:
        guest.send(5000, port_of(one), b"question")
        _, near = await in_thread(one.recvfrom, 100)
        one.sendto(b"answer", near)
        await guest.receive(1)
        end = End(ADDRESSES.guest, 5000)
        assert guest.tap.owned == [(UDP, end)]
        assert guest.tap.datagrams == [(UDP, end, ">", b"question"), (UDP, end, "<", b"answer")]
        assert guest.tap.ends == [(Endpoint(*near), Endpoint("127.0.0.1", port_of(one)))] * 2


async def test_an_end_has_one_port_of_the_host_whatever_it_sends_to(one: socket.socket, two: socket.socket) -> None:
    async with carried() as guest:
        for source_port, sock in ((5000, one), (5000, two), (5001, one)):
            guest.send(source_port, port_of(sock), b"?")
        _, first = await in_thread(one.recvfrom, 100)
        _, second = await in_thread(two.recvfrom, 100)
        _, other = await in_thread(one.recvfrom, 100)
        assert first == second != other
        with closing(server()) as stranger:
            stranger.sendto(b"unasked", first)
            assert await guest.receive() == [(HOST, Udp(port_of(stranger), 5000, memoryview(b"unasked")))]


async def test_after_its_idle_time_a_mapping_is_gone_and_the_next_datagram_makes_another(one: socket.socket) -> None:
    async with carried() as guest:
        guest.send(5000, port_of(one), b"?")
        _, first = await in_thread(one.recvfrom, 100)
        advance(guest.engine, IDLE_S - 1)
        one.sendto(b"in time", first)
        await guest.receive()
        advance(guest.engine, 2 * IDLE_S)
        one.sendto(b"late", first)
        guest.settle()
        assert len(guest.guest.received) == 1
        guest.send(5000, port_of(one), b"again")
        heard, second = await in_thread(one.recvfrom, 100)
        assert (heard, second != first) == (b"again", True)
        one.sendto(b"!", second)
        assert await guest.receive(2) == [
            (HOST, Udp(port_of(one), 5000, memoryview(payload))) for payload in (b"in time", b"!")
        ]


async def test_a_host_that_is_turned_off_can_send_nothing_either(one: socket.socket) -> None:
    async with carried(host=False) as guest:
        guest.send(5000, port_of(one), b"?")
        _, near = await in_thread(one.recvfrom, 100)
        one.sendto(b"!", near)
        guest.settle()
        assert guest.guest.received == []
        assert dict(guest.sockets.dropped) == {"from the host's loopback": 1}


async def test_a_refusal_is_passed_on_if_it_is_to_be(one: socket.socket) -> None:
    if sys.platform != "linux":
        missing("only Linux tells a socket that is not connected")
    async with carried(port_unreachable=True) as guest:
        gone = port_of(one)
        one.close()
        guest.send(5000, gone, b"?")
        ((source, message),) = await guest.receive()
        assert isinstance(message, Icmp)
        assert (source, message.kind, message.code) == (HOST, 3, 3)
        assert message.payload[20:24] == (5000).to_bytes(2) + gone.to_bytes(2)


async def test_otherwise_it_gets_nothing_and_its_next_datagrams_go_on(one: socket.socket, two: socket.socket) -> None:
    async with carried() as guest:
        gone = port_of(one)
        one.close()
        for _ in range(3):
            guest.send(5000, gone, b"?")
            guest.send(5000, port_of(two), b"?")
            assert (await in_thread(two.recvfrom, 100))[0] == b"?"
        guest.settle()
        assert guest.guest.received == []


async def test_a_refusal_does_not_keep_the_next_datagram(one: socket.socket, two: socket.socket) -> None:
    async with carried(port_unreachable=True) as guest:
        gone = port_of(one)
        one.close()
        guest.send(5000, gone, b"?")
        guest.send(5000, port_of(two), b"!")  # the socket reports the refusal instead, once
        assert (await in_thread(two.recvfrom, 100))[0] == b"!"


async def test_what_cannot_be_sent_is_counted(one: socket.socket) -> None:
    async with carried() as guest:
        guest.send(5000, 9, b"?", destination=undotted("255.255.255.255"))
        assert sum(guest.sockets.dropped.values()) == 1


async def test_without_a_descriptor_a_datagram_is_lost_and_the_next_one_may_pass(
    one: socket.socket, monkeypatch: pytest.MonkeyPatch
) -> None:
    def none_left(*arguments: object) -> socket.socket:
        raise OSError(errno.EMFILE, "Too many open files")

    async with carried() as guest:
        with monkeypatch.context() as patch:
            patch.setattr("relay.wire.host.host_socket.socket.socket", none_left)
            guest.send(5000, port_of(one), b"lost")
        assert dict(guest.sockets.dropped) == {"too many open files": 1}
        guest.send(5000, port_of(one), b"found")
        assert (await in_thread(one.recvfrom, 100))[0] == b"found"


async def test_a_scan_from_many_ports_leaves_few_sockets_open(one: socket.socket, two: socket.socket) -> None:
    async with carried(limit=16) as guest:
        for source_port in range(1000, 2000):
            guest.send(source_port, port_of(one), b"")
        assert len(guest.sockets._sockets) == 16
        guest.send(999, port_of(two), b"mine")
        _, near = await in_thread(two.recvfrom, 100)
        two.sendto(b"yours", near)
        assert await guest.receive() == [(HOST, Udp(port_of(two), 999, memoryview(b"yours")))]


async def test_a_flood_of_replies_arrives_without_another_edge(readiness: str, one: socket.socket) -> None:
    async with carried() as guest:
        guest.send(5000, port_of(one), b"?")
        _, near = await in_thread(one.recvfrom, 100)
        for number in range(200):
            one.sendto(number.to_bytes(2), near)
        got = await guest.receive(200)
        assert [int.from_bytes(udp.payload) for _, udp in got] == list(range(200))
