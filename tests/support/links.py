"""Links on a running engine, and what arrives over them."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import anyio

from relay.wire.link import Link
from support.bench import DEADLINE_S, open_engine


class Received:
    """What has arrived over a link, in order."""

    def __init__(self, link: Link) -> None:
        self.link = link
        self.datagrams: list[bytes] = []
        self._more = anyio.Event()

    def read(self) -> None:
        while (datagram := self.link.receive()) is not None:
            self.datagrams.append(bytes(datagram))
        self._more.set()

    async def until(self, condition: Callable[[], object]) -> None:
        """Wait until it holds; the engine runs meanwhile."""
        with anyio.fail_after(DEADLINE_S):
            while not condition():
                with anyio.move_on_after(0.02):  # what else a link does reaches no watcher
                    await self._more.wait()
                self._more = anyio.Event()

    async def until_count(self, count: int) -> list[bytes]:
        """The datagrams, once there are so many."""
        await self.until(lambda: len(self.datagrams) >= count)
        assert len(self.datagrams) == count
        return self.datagrams


@asynccontextmanager
async def watched(link: Link) -> AsyncIterator[Received]:
    """Watch a link on an engine of its own, and close it at the end; nothing may raise meanwhile."""
    received = Received(link)
    async with open_engine() as (engine, faults):
        link.watch(engine, received.read)
        yield received
        link.close()
    assert not faults
