"""The leg that is our own TCP keeps every guarantee of `relay.legs.Leg`, against another one at the end of a cable."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from typing import cast

import anyio
import pytest

from relay.behaviours.local_keepalive import LocalKeepalive
from relay.events import Event, ProbeArrived
from relay.loop.engine import Engine
from relay.stack import Stack
from relay.testing import LegPair, MemoryLoop, check_leg
from relay.wire.ends import Ends
from relay.wire.leg import WireLeg
from relay.wire.owners import NO_OWNERS
from relay.wire.segment import Segment
from relay.wire.stray import answer
from relay.wire.tcp import Tcp
from support.bench import DEADLINE_S, open_engine

pytestmark = pytest.mark.anyio

NEAR = Ends(0xC0A87F80, 40_000, 0xC0000201, 80)
FAR = Ends(0xC0000201, 80, 0xC0A87F80, 40_000)
VMNAT = {"ack": "each", "first_retransmit_s": 0.1025, "after_reset": "linger"}


class Cable:
    """Carries each end's segments to the other, in order, once the engine has time."""

    owners = NO_OWNERS

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        self.established = anyio.Event()
        self._others: dict[WireLeg, WireLeg] = {}
        self._over: set[WireLeg] = set()

    def join(self, one: WireLeg, other: WireLeg) -> None:
        self._others |= {one: other, other: one}

    def send_segments(self, leg: WireLeg, segments: list[Segment]) -> None:
        for segment in segments:
            copied = Segment(**{name: getattr(segment, name) for name in Segment.__slots__})
            copied.payload = bytes(segment.payload)
            self.engine.call_soon(partial(self._deliver, self._others[leg], copied))

    def _deliver(self, leg: WireLeg, segment: Segment) -> None:
        if leg not in self._over:
            leg.on_segment(segment)
        elif (reset := answer(segment, leg.tcp.stack)) is not None:
            self.send_segments(leg, [reset])

    def tell_owner(self, leg: WireLeg) -> None:
        leg.owner.on_leg_ready(leg)

    def on_established(self, leg: WireLeg) -> None:
        self.established.set()

    def forget(self, leg: WireLeg) -> None:
        self._over.add(leg)


class VirtualEngine(MemoryLoop):
    """An engine whose time passes on command."""

    @property
    def nat(self) -> MemoryLoop:
        return self


def joined(cable: Cable, stack: Stack) -> tuple[WireLeg, WireLeg]:
    """Two legs; the handshake is under way."""
    now_s = cable.engine.now_s()
    opening = Tcp.opening(stack, 7, now_s)
    (syn,) = opening.take_output()
    near, far = WireLeg(cable, Tcp.answering(stack, syn, 11, now_s), NEAR), WireLeg(cable, opening, FAR)
    cable.join(near, far)
    near.grant()
    return near, far


@asynccontextmanager
async def in_virtual_time(stack: Stack) -> AsyncIterator[LegPair]:
    loop = VirtualEngine()
    near, far = joined(Cable(cast("Engine", loop)), stack)
    loop.settle()

    async def wait(seconds: float) -> None:
        loop.advance(seconds)

    yield LegPair(far, near, wait)


@asynccontextmanager
async def on_an_engine(stack: Stack) -> AsyncIterator[LegPair]:
    async with open_engine() as (engine, faults):
        cable = Cable(engine)
        near, far = joined(cable, stack)
        with anyio.fail_after(DEADLINE_S):
            await cable.established.wait()
        yield LegPair(far, near)
        for leg in (near, far):
            leg.reset()
        assert not faults


STACKS = pytest.mark.parametrize("settings", [VMNAT, {}], ids=["vmnat", "RFC 9293"])


@STACKS
async def test_our_own_tcp_keeps_every_guarantee_of_a_leg(settings: dict[str, object]) -> None:
    await check_leg(lambda: in_virtual_time(Stack.of(settings)))


@pytest.mark.system
@STACKS
async def test_and_so_it_does_on_an_engine(settings: dict[str, object]) -> None:
    await check_leg(lambda: on_an_engine(Stack.of(settings)))


class Witness:
    def __init__(self) -> None:
        self.saw: list[Event] = []

    def on_leg_saw(self, event: Event, withheld: bool) -> None:
        self.saw.append(event)


async def test_a_guest_that_probes_a_connection_keeps_it() -> None:
    async with in_virtual_time(Stack()) as pair:
        witness = Witness()
        pair.leg.watch(list(LocalKeepalive(answered_by="nat").wants()), witness)
        pair.peer.set_keepalive(1, 1, 3)
        await pair.wait(60)
        assert {(type(event), getattr(event, "answered", None)) for event in witness.saw} == {(ProbeArrived, True)}
        assert not pair.peer.find_broken()


async def test_a_probe_that_is_the_servers_to_answer_is_answered_on_request() -> None:
    async with in_virtual_time(Stack()) as pair:
        witness = Witness()
        pair.leg.watch(list(LocalKeepalive(answered_by="server").wants()), witness)
        pair.peer.set_keepalive(1, 1, 3)
        for _ in range(60):
            await pair.wait(1)
            pair.leg.answer_probe()
        assert {(type(event), getattr(event, "answered", None)) for event in witness.saw} == {(ProbeArrived, False)}
        assert not pair.peer.find_broken()
        await pair.wait(5)
        assert pair.peer.find_broken(), "it was not told to any more"


async def test_a_leg_without_a_watch_answers_by_itself() -> None:
    async with in_virtual_time(Stack()) as pair:
        pair.leg.watch(list(LocalKeepalive(answered_by="server").wants()), Witness())
        pair.leg.unwatch()
        pair.peer.set_keepalive(1, 1, 3)
        await pair.wait(60)
        assert not pair.peer.find_broken()


async def test_a_limit_that_is_lifted_opens_the_window_at_once() -> None:
    async with in_virtual_time(Stack(window=2920)) as pair:
        pair.peer.write(bytes(20_000))
        await pair.wait(0.01)
        assert pair.leg.unread_bytes() == 2 * 2920
        pair.leg.limit_window(1460)
        assert pair.leg.receive_into(memoryview(bytearray(2920))) == 2920
        await pair.wait(0.01)
        assert pair.leg.unread_bytes() == 2920
        pair.leg.limit_window(64_240)
        await pair.wait(0.01)
        assert pair.leg.unread_bytes() == 2 * 2920
