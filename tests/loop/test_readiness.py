"""What a watcher can rely on, whether a queue of the kernel's stands for all sockets or a task waits for each edge."""

from __future__ import annotations

import contextlib
import os
import socket
import threading
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from functools import partial

import anyio
import pytest
from anyio.abc import TaskGroup

from relay.loop.readiness import Readiness, open_readiness
from relay.loop.readiness.epoll import EpollReadiness
from relay.loop.readiness.kqueue import KqueueReadiness
from relay.loop.readiness.tasks import TaskReadiness
from support.bench import DEADLINE_S, socket_pair
from support.origins import read_exactly, reset

pytestmark = [pytest.mark.anyio, pytest.mark.usefixtures("with_kqueue")]


@dataclass(eq=False)
class Watched:
    """A watcher that notes each call, and may act on it."""

    sock: socket.socket
    told: list[str] = field(default_factory=list)
    then: Callable[[], object] | None = None

    def on_ready(self, readable: bool, writable: bool, ended: bool) -> None:
        self.told += [word for word, is_so in (("read", readable), ("write", writable)) if is_so]
        if self.then is not None:
            self.then()


@dataclass
class Host:
    readiness: Readiness
    faults: list[Exception]
    stack: AsyncExitStack

    def watch(self) -> tuple[Watched, socket.socket]:
        """A watcher on a fresh connection, and the peer's end."""
        near, peer = socket_pair()
        self.stack.callback(peer.close)
        self.stack.callback(near.close)
        watched = Watched(near)
        self.readiness.watch(watched)
        return watched, peer

    async def until(self, condition: Callable[[], object]) -> None:
        with anyio.fail_after(DEADLINE_S):
            while not condition():
                await self.readiness.wait()
                self.readiness.deliver()

    async def settle(self, watched: Watched) -> None:
        """Have it called because it can be written, and forget that: what came before was delivered by then, too."""
        self.readiness.rearm_write(watched)
        await self.until(lambda: "write" in watched.told)
        watched.told.clear()


OPENERS: dict[str, Callable[[TaskGroup, Callable[[Exception], None]], Readiness]] = {
    "epoll": lambda _, on_fault: EpollReadiness(on_fault),
    "kqueue": lambda _, on_fault: KqueueReadiness(on_fault),
    "tasks": TaskReadiness,
}


@asynccontextmanager
async def open_host(kind: str) -> AsyncIterator[Host]:
    faults: list[Exception] = []
    async with AsyncExitStack() as stack, anyio.create_task_group() as tasks:
        readiness = OPENERS[kind](tasks, faults.append)
        stack.callback(readiness.close)
        try:
            yield Host(readiness, faults, stack)
        finally:
            tasks.cancel_scope.cancel()


kinds = pytest.mark.parametrize("kind", OPENERS)
queues = pytest.mark.parametrize("kind", ["epoll", "kqueue"])


@kinds
async def test_a_fresh_connection_can_be_written_and_not_read(kind: str) -> None:
    async with open_host(kind) as host:
        watched, _ = host.watch()
        host.readiness.rearm_write(watched)
        await host.until(lambda: watched.told)
        assert watched.told == ["write"]


@kinds
async def test_that_it_can_be_written_is_reported_only_on_request(kind: str) -> None:
    async with open_host(kind) as host:
        silent, _ = host.watch()
        watched, _ = host.watch()
        await host.settle(watched)
        assert silent.told == []


@kinds
async def test_arrivals_are_reported_once_for_each_request(kind: str) -> None:
    async with open_host(kind) as host:
        watched, peer = host.watch()
        await host.settle(watched)
        for word in (b"one", b"two", b"three"):
            peer.sendall(word)
            await host.until(lambda: "read" in watched.told)
            assert watched.told.count("read") == 1
            assert watched.sock.recv(100) == word
            with pytest.raises(BlockingIOError):
                watched.sock.recv(100)
            watched.told.clear()
            host.readiness.rearm_read(watched)


@kinds
async def test_two_requests_bring_one_report(kind: str) -> None:
    async with open_host(kind) as host:
        watched, peer = host.watch()
        await host.settle(watched)
        for _ in range(3):
            host.readiness.rearm_read(watched)
        peer.sendall(b"word")
        await host.until(lambda: "read" in watched.told)
        for _ in range(5):
            await anyio.lowlevel.checkpoint()
        host.readiness.deliver()
        assert watched.told.count("read") == 1


@kinds
async def test_room_to_write_is_reported_after_there_was_none(kind: str) -> None:
    async with open_host(kind) as host:
        watched, peer = host.watch()
        await host.settle(watched)
        fill(watched.sock)
        host.readiness.rearm_write(watched)
        peer.setblocking(False)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(read_on, peer)
            await host.until(lambda: "write" in watched.told)
            tasks.cancel_scope.cancel()


def fill(sock: socket.socket) -> int:
    """Send until nothing more is taken; how many bytes were."""
    count = 0
    with contextlib.suppress(BlockingIOError):
        while True:
            count += sock.send(bytes(1 << 20))
    return count


async def read_on(peer: socket.socket) -> None:
    while True:
        await anyio.wait_readable(peer)
        peer.recv(1 << 20)


@kinds
@pytest.mark.parametrize("end", [lambda peer: peer.shutdown(socket.SHUT_WR), reset], ids=["fin", "rst"])
async def test_an_end_is_reported_as_something_to_read(kind: str, end: Callable[[socket.socket], object]) -> None:
    async with open_host(kind) as host:
        watched, peer = host.watch()
        await host.settle(watched)
        end(peer)
        await host.until(lambda: "read" in watched.told)


@queues
async def test_a_queue_tells_of_a_rst_after_a_fin(kind: str) -> None:
    async with open_host(kind) as host:
        watched, peer = host.watch()
        await host.settle(watched)
        peer.shutdown(socket.SHUT_WR)
        await host.until(lambda: watched.told)
        watched.told.clear()
        reset(peer)
        await host.until(lambda: watched.told)


@kinds
async def test_who_is_unwatched_hears_nothing_more(kind: str) -> None:
    async with open_host(kind) as host:
        watched, peer = host.watch()
        other, other_peer = host.watch()
        await host.settle(watched)
        host.readiness.unwatch(watched)
        host.readiness.unwatch(watched)
        watched.told.clear()
        for each in (peer, other_peer):
            each.sendall(b"word")
        await host.until(lambda: "read" in other.told)
        assert (watched.told, host.faults) == ([], [])


@kinds
async def test_who_is_watched_anew_has_not_asked_to_write(kind: str) -> None:
    async with open_host(kind) as host:
        old, peer = host.watch()
        await host.settle(old)
        count = fill(old.sock)
        host.readiness.unwatch(old)
        new = Watched(old.sock)
        host.readiness.watch(new)
        read_exactly(peer, count)
        peer.sendall(b"word")
        await host.until(lambda: "read" in new.told)
        assert "write" not in new.told


@kinds
async def test_who_is_unwatched_by_another_of_the_same_round_hears_nothing_of_it(kind: str) -> None:
    async with open_host(kind) as host:

        def end_other(other: Watched) -> None:
            host.readiness.unwatch(other)
            other.sock.close()

        pair = [host.watch() for _ in range(2)]
        for watched, _ in pair:
            await host.settle(watched)
        for at, (watched, peer) in enumerate(pair):
            watched.then = partial(end_other, pair[1 - at][0])
            peer.sendall(b"word")
        await host.until(lambda: any(watched.told for watched, _ in pair))
        for _ in range(5):
            await anyio.lowlevel.checkpoint()
        host.readiness.deliver()
        assert sorted(bool(watched.told) for watched, _ in pair) == [False, True]
        assert host.faults == []


@kinds
async def test_a_reused_descriptor_belongs_to_its_new_watcher(kind: str) -> None:
    async with open_host(kind) as host:
        old, old_peer = host.watch()
        near, peer = socket_pair()
        host.stack.callback(peer.close)
        await host.settle(old)
        number = old.sock.fileno()
        host.readiness.unwatch(old)
        old.sock.close()
        os.dup2(near.fileno(), number)
        near.close()
        moved = socket.socket(fileno=number)
        host.stack.callback(moved.close)
        new = Watched(moved)
        host.readiness.watch(new)
        await host.settle(new)
        peer.sendall(b"word")
        await host.until(lambda: "read" in new.told)
        old_peer.close()
        assert old.told == []


@kinds
async def test_one_that_raises_does_not_keep_another_from_hearing(kind: str) -> None:
    async with open_host(kind) as host:
        pair = [host.watch() for _ in range(2)]
        for watched, _ in pair:
            await host.settle(watched)
            watched.then = lambda: 1 // 0
        for _, peer in pair:
            peer.sendall(b"word")
        await host.until(lambda: all("read" in watched.told for watched, _ in pair))
        assert {type(fault) for fault in host.faults} == {ZeroDivisionError}


@kinds
async def test_closing_closes_what_is_still_watched(kind: str) -> None:
    async with open_host(kind) as host:
        watched, peer = host.watch()
        await host.settle(watched)
        host.readiness.close()
        assert watched.sock.fileno() == -1
        assert peer.recv(1) == b""


@queues
async def test_a_queue_waits_for_as_long_as_it_may(kind: str) -> None:
    async with open_host(kind) as host:
        watched, peer = host.watch()
        await host.settle(watched)
        threading.Timer(0.05, peer.sendall, (b"word",)).start()
        assert host.readiness.deliver(DEADLINE_S) > 0
        assert "read" in watched.told
        assert host.readiness.deliver(0.001) == 0


async def test_a_host_has_its_kernels_queue_or_else_tasks(monkeypatch: pytest.MonkeyPatch) -> None:
    async with anyio.create_task_group() as tasks:
        own = open_readiness(tasks, lambda fault: None)
        own.close()
        monkeypatch.delattr("select.epoll")
        with_kqueue = open_readiness(tasks, lambda fault: None)
        with_kqueue.close()
        monkeypatch.delattr("select.kqueue")
        without = open_readiness(tasks, lambda fault: None)
        assert [type(each) for each in (own, with_kqueue, without)] == [EpollReadiness, KqueueReadiness, TaskReadiness]
