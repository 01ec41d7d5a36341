"""A kernel socket's leg and what its host's providers see on it: whose watch lasts how long."""

from __future__ import annotations

import socket
import weakref
from collections.abc import Callable, Collection, Iterator
from functools import partial

import pytest

from relay.abilities import Ability, Want
from relay.events import Event, Side
from relay.legs import PeerSocket, Process, Witness
from relay.loop.engine import Engine
from relay.net.abilities import NO_ABILITIES
from relay.net.kernel_leg import KernelLeg
from support.bench import open_engine, socket_pair

pytestmark = pytest.mark.anyio

WANTS = (Want(Ability.TOS),)


class Providers:
    """A host whose providers note what is asked of them."""

    def __init__(self, *, can_vanish: bool = False) -> None:
        self.calls: list[str] = []
        self._can_vanish = can_vanish

    def watch(self, leg: KernelLeg, wants: Collection[Want], witness: Witness) -> Noting:
        self.calls.append("watch")
        return Noting(self.calls)

    def blackhole(self, sock: socket.socket, on: bool) -> bool:
        self.calls.append(f"blackhole {on}")
        return True

    def vanish(self, sock: socket.socket) -> bool:
        self.calls.append("vanish")
        return self._can_vanish

    def probe(self, sock: socket.socket, answered: Callable[[], None]) -> bool:
        self.calls.append("probe")
        answered()
        return True

    def glimpse_process(self, sock: socket.socket) -> Process | None:
        return (1, "glimpsed")

    def find_process(self, sock: socket.socket) -> Process | None:
        return (2, "found")

    def look_at_peer(self, sock: socket.socket) -> PeerSocket | None:
        return PeerSocket(3, None, None)


class Noting:
    """A watch of theirs."""

    def __init__(self, calls: list[str]) -> None:
        self._calls = calls

    def release(self) -> None:
        self._calls.append("release")

    def close(self) -> None:
        self._calls.append("close")


class _NoOwner:
    def on_leg_ready(self, leg: object) -> None:
        pass

    def on_leg_saw(self, event: Event, withheld: bool) -> None:
        pass


@pytest.fixture
def ends() -> Iterator[socket.socket]:
    near, peer = socket_pair()
    with peer:
        yield near


def leg_of(engine: Engine, near: socket.socket, providers: Providers) -> KernelLeg:
    return KernelLeg(engine, near, Side.INTERNAL, _NoOwner(), providers)


async def test_a_watch_ends_with_unwatch_and_once(ends: socket.socket) -> None:
    providers = Providers()
    async with open_engine() as (engine, _):
        leg = leg_of(engine, ends, providers)
        leg.watch(WANTS, _NoOwner())
        leg.unwatch()
        leg.unwatch()
        leg.close()
    assert providers.calls == ["watch", "close"]


async def test_a_watch_ends_with_its_leg(ends: socket.socket) -> None:
    providers = Providers()
    async with open_engine() as (engine, _):
        leg = leg_of(engine, ends, providers)
        leg.watch(WANTS, _NoOwner())
        leg.close()
    assert providers.calls == ["watch", "close"]


async def test_a_leg_that_is_closed_holds_neither_its_owner_nor_what_it_asked(ends: socket.socket) -> None:
    async with open_engine() as (engine, _):
        owner = _NoOwner()
        leg = KernelLeg(engine, ends, Side.INTERNAL, owner, NO_ABILITIES)
        leg.ask_tos = partial(owner.on_leg_ready, leg)
        gone = weakref.ref(owner)
        leg.close()
        del owner
        assert gone() is None, "without the garbage collector"


async def test_what_a_watch_has_withheld_is_let_through_before_the_next_one_begins(ends: socket.socket) -> None:
    providers = Providers()
    async with open_engine() as (engine, _):
        leg = leg_of(engine, ends, providers)
        leg.watch(WANTS, _NoOwner())
        leg.watch(WANTS, _NoOwner())
        leg.watch((), _NoOwner())
        leg.close()
    assert providers.calls == ["watch", "release", "close", "watch", "release", "close"]


async def test_the_leg_passes_on_what_only_its_host_can_do(ends: socket.socket) -> None:
    providers = Providers()
    async with open_engine() as (engine, _):
        leg = leg_of(engine, ends, providers)
        assert leg.blackhole(True)
        assert not leg.forget()
        assert leg.probe(partial(providers.calls.append, "answered"))
        assert not leg.closed
        assert leg.glimpse_process() == (1, "glimpsed")
        assert leg.find_process() == (2, "found")
        assert leg.look_at_peer() == PeerSocket(3, None, None)
        leg.close()
    assert providers.calls == ["blackhole True", "vanish", "probe", "answered"]


async def test_a_leg_that_its_host_forgets_is_closed_and_forgotten_once(ends: socket.socket) -> None:
    providers = Providers(can_vanish=True)
    async with open_engine() as (engine, _):
        leg = leg_of(engine, ends, providers)
        assert leg.forget()
        assert leg.closed
        assert leg.forget()
    assert providers.calls == ["vanish"]


async def test_a_host_without_providers_sees_nothing_and_can_do_nothing(ends: socket.socket) -> None:
    async with open_engine() as (engine, _):
        leg = KernelLeg(engine, ends, Side.INTERNAL, _NoOwner(), NO_ABILITIES)
        leg.watch(WANTS, _NoOwner())
        leg.watch((), _NoOwner())
        assert not leg.blackhole(True)
        assert not leg.forget()
        assert not leg.probe(lambda: None)
        assert leg.glimpse_process() is None
        assert leg.find_process() is None
        assert leg.look_at_peer() is None
        leg.close()
