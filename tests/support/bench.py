"""One leg on an engine of its own, and the peer that it is connected to."""

from __future__ import annotations

import socket
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from typing import TypeVar

import anyio
import anyio.to_thread

from relay.events import Side
from relay.loop.engine import Engine
from relay.loop.settling import advancing, finish, settling
from relay.net.kernel_leg import KernelLeg

DEADLINE_S = 60.0
_Result = TypeVar("_Result")


@dataclass
class Owner:
    """A leg's owner that notes when it is called."""

    calls: int = 0
    called: anyio.Event = field(default_factory=anyio.Event)

    def on_leg_ready(self, leg: KernelLeg) -> None:
        self.calls += 1
        self.called.set()
        self.called = anyio.Event()


@dataclass(frozen=True)
class Bench:
    engine: Engine
    owner: Owner
    leg: KernelLeg
    peer: socket.socket
    """Blocking; use it with `in_thread` where it may block."""
    faults: list[Exception]

    async def until(self, condition: Callable[[], object]) -> None:
        """Wait for something that comes about in the engine."""
        with anyio.fail_after(DEADLINE_S):
            while not condition():
                # Not every change calls the owner: look again soon.
                with anyio.move_on_after(0.01):
                    await self.owner.called.wait()

    async def receive(self, size_bytes: int = 1 << 16) -> bytes | int:
        """What one read gives, once there is something: bytes, 0 for FIN, or BROKEN."""
        await self.until(lambda: self.leg.readable)
        count = self.leg.receive_into(self.engine.buffer[:size_bytes])
        return bytes(self.engine.buffer[:count]) if count > 0 else count


async def in_thread(function: Callable[..., _Result], *arguments: object) -> _Result:
    with anyio.fail_after(DEADLINE_S):
        return await anyio.to_thread.run_sync(function, *arguments, abandon_on_cancel=True)


def socket_pair(host: str = "127.0.0.1") -> tuple[socket.socket, socket.socket]:
    """Two ends of a TCP connection, the first not blocking."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.create_server((host, 0), family=family) as listener:
        peer = socket.create_connection(listener.getsockname()[:2], timeout=DEADLINE_S)
        near, _ = listener.accept()
    near.setblocking(False)
    near.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return near, peer


@asynccontextmanager
async def open_engine() -> AsyncIterator[tuple[Engine, list[Exception]]]:
    """An engine that runs; what its callbacks raise is in the list."""
    faults: list[Exception] = []
    async with AsyncExitStack() as after_tasks, anyio.create_task_group() as tasks:
        engine = Engine(tasks, on_fault=faults.append)
        after_tasks.callback(engine.close)
        tasks.start_soon(engine.run)
        try:
            yield engine, faults
        finally:
            tasks.cancel_scope.cancel()


def advance(engine: Engine, seconds: float) -> None:
    """Take in all that has come, then let so many of the NAT's seconds pass at once."""
    finish(engine, settling(engine, lambda: True))
    finish(engine, advancing(engine, seconds, lambda: True))


@asynccontextmanager
async def open_bench(host: str = "127.0.0.1") -> AsyncIterator[Bench]:
    """A leg and its peer; nothing may have gone wrong by the end."""
    near, peer = socket_pair(host)
    with peer:
        async with open_engine() as (engine, faults):
            owner = Owner()
            bench = Bench(engine, owner, KernelLeg(engine, near, Side.INTERNAL, owner), peer, faults)
            yield bench
            bench.leg.close()
    assert not faults
