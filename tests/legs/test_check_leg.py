"""Every implementation of a leg is put to the same suite, and the suite notices a leg that breaks a guarantee."""

from __future__ import annotations

import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import pytest

from relay.events import Side
from relay.legs import BROKEN
from relay.net.kernel_leg import KernelLeg
from relay.testing import LegPair, MemoryLeg, MemoryLoop, check_leg, memory_pair
from support.bench import open_engine, socket_pair

pytestmark = pytest.mark.anyio


@asynccontextmanager
async def in_memory() -> AsyncIterator[LegPair]:
    loop = MemoryLoop()
    peer, leg = memory_pair(loop)

    async def wait(seconds: float) -> None:
        loop.advance(seconds)

    yield LegPair(peer, leg, wait)


@asynccontextmanager
async def on_kernel_sockets(host: str = "127.0.0.1") -> AsyncIterator[LegPair]:
    async with open_engine() as (engine, faults):
        near, far = socket_pair(host)
        far.setblocking(False)
        far.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        legs = [KernelLeg(engine, sock, Side.INTERNAL, Unowned()) for sock in (near, far)]
        yield LegPair(legs[1], legs[0])
        for leg in legs:
            leg.close()
        assert not faults


class Unowned:
    def on_leg_ready(self, leg: object) -> None:
        pass


async def test_a_leg_in_memory_keeps_every_guarantee() -> None:
    await check_leg(in_memory)


@pytest.mark.system
async def test_a_kernels_socket_keeps_every_guarantee() -> None:
    await check_leg(on_kernel_sockets)


class Forgetful(MemoryLeg):
    def thaw(self) -> None:
        self._unsent.clear()
        super().thaw()


class Hasty(MemoryLeg):
    def finish(self) -> None:
        self._unsent.clear()
        super().finish()


class Talkative(MemoryLeg):
    def write(self, data: bytes | bytearray | memoryview) -> None:
        super().write(data)
        self.owner.on_leg_ready(self)


class Boundless(MemoryLeg):
    @property
    def has_room(self) -> bool:
        return True


class Polite(MemoryLeg):
    def reset(self) -> None:
        self._inbox.clear()
        self.close()


class Rash(MemoryLeg):
    def reset_after_data(self) -> None:
        self.reset()


class Sleepy(MemoryLeg):
    def receive_into(self, buffer: memoryview) -> int:
        count = super().receive_into(buffer)
        self.readable = True
        return count


class Impatient(MemoryLeg):
    def receive_into(self, buffer: memoryview) -> int:
        return super().receive_into(buffer) if not self._error else BROKEN


class Restless(MemoryLeg):
    def _end(self) -> None:
        owner = self.owner
        super()._end()
        self.owner = owner
        self.closed = False


class Trusting(MemoryLeg):
    def take_probe(self) -> bool:
        return True


class Credulous(MemoryLeg):
    def probe(self, answered: Callable[[], None]) -> bool:
        self.loop.call_soon(answered)
        return True


@pytest.mark.parametrize(
    ("broken", "guarantee"),
    [
        (Forgetful, "a frozen leg neither writes nor loses what arrives"),
        (Hasty, "a fin is sent behind what was written and reading goes on"),
        (Talkative, "no call of the owners calls it back"),
        (Boundless, "without room everything is taken and none is lost"),
        (Polite, "a reset is a rst that overtakes what waits"),
        (Rash, "a reset after data comes when the peer has everything"),
        (Sleepy, "a read that finds nothing clears readable until the owner is called"),
        (Impatient, "a rst is found after the bytes"),
        (Restless, "a closed leg calls nothing and allows what is legal"),
        (Trusting, "keepalive finds a silent peer dead and leaves a living one"),
        (Credulous, "a peer that is there answers a probe and no other does"),
    ],
)
async def test_a_leg_that_breaks_a_guarantee_is_found_by_its_name(broken: type[MemoryLeg], guarantee: str) -> None:
    @asynccontextmanager
    async def open_pair() -> AsyncIterator[LegPair]:
        async with in_memory() as pair:
            for leg in (pair.peer, pair.leg):
                leg.__class__ = broken
            yield pair

    with pytest.raises(AssertionError, match=guarantee):
        await check_leg(open_pair)
