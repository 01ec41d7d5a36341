"""A NAT for UDP toward two ports, whose mappings are forgotten by a probe's clock."""

from __future__ import annotations

import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import anyio
from anyio.abc import TaskGroup

from relay.address import Endpoint
from relay.probe.clock import ProbeClock

_HOST = "127.0.0.1"


@dataclass
class Mapping:
    """One source's way out."""

    outside: socket.socket
    used_s: float
    sent_to: set[int] = field(default_factory=set)
    replied: bool = False


@dataclass
class UdpNat:
    """What it does."""

    clock: ProbeClock
    alone_s: float = 30.0
    """How long a mapping lasts to which nothing has come back."""
    after_s: float = 120.0
    inbound_refreshes: bool = True
    filters: bool = True
    """Whether only ports that were sent to get through."""
    front: list[socket.socket] = field(default_factory=list)
    mappings: dict[tuple[str, int], Mapping] = field(default_factory=dict)

    async def outward(self, front: socket.socket, target: Endpoint, tasks: TaskGroup) -> None:
        """Carry what comes to one of the two ports."""
        while True:
            await anyio.wait_readable(front)
            data, source = front.recvfrom(2048)
            mapping = self.mappings.get(source)
            if mapping is None or self.is_over(mapping):
                mapping = self.mappings[source] = Mapping(bound(), self.clock.now_s())
                tasks.start_soon(self.inward, mapping, source)
            mapping.used_s = self.clock.now_s()
            mapping.sent_to.add(target.port)
            mapping.outside.sendto(data, target)

    async def inward(self, mapping: Mapping, source: tuple[str, int]) -> None:
        """Carry what comes back, as long as the mapping is there."""
        with mapping.outside:
            while not self.is_over(mapping):
                await anyio.wait_readable(mapping.outside)
                data, peer = mapping.outside.recvfrom(2048)
                if self.is_over(mapping) or (self.filters and peer[1] not in mapping.sent_to):
                    continue
                mapping.replied = True
                if self.inbound_refreshes:
                    mapping.used_s = self.clock.now_s()
                self.front[0].sendto(data, source)

    def is_over(self, mapping: Mapping) -> bool:
        """Whether it has been quiet for too long."""
        return self.clock.now_s() - mapping.used_s > (self.after_s if mapping.replied else self.alone_s)


def bound() -> socket.socket:
    """A socket with a port of its own."""
    sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    sock.setblocking(False)
    sock.bind((_HOST, 0))
    return sock


@asynccontextmanager
async def open_udp_nat(nat: UdpNat, *targets: Endpoint) -> AsyncIterator[list[Endpoint]]:
    """Ports that lead to these, for as long as the block lasts."""
    nat.front = [bound() for _ in targets]
    async with anyio.create_task_group() as tasks:
        for front, target in zip(nat.front, targets, strict=True):
            tasks.start_soon(nat.outward, front, target, tasks)
        yield [Endpoint(*front.getsockname()) for front in nat.front]
        tasks.cancel_scope.cancel()
    for front in nat.front:
        front.close()
