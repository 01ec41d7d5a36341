"""What a kernel socket's leg makes of its socket's answers, on this kernel and on others."""

from __future__ import annotations

import errno
import os
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import anyio
import pytest

from relay.address import Endpoint
from relay.events import Side
from relay.legs import BROKEN, WOULD_BLOCK
from relay.net.kernel_leg import KernelLeg
from relay.net.pipe import PipePool
from support.bench import DEADLINE_S, Bench, open_bench, open_engine, socket_pair
from support.origins import read_exactly, reset

pytestmark = pytest.mark.anyio


class Odd(socket.socket):
    """A socket of another kernel, or one that has met an error."""

    error: OSError | None = None
    """What its next call fails with."""
    takes_bytes = 8
    """How long its SO_LINGER is."""

    def __init__(self, sock: socket.socket) -> None:
        super().__init__(sock.family, sock.type, sock.proto, fileno=sock.detach())
        self.setblocking(False)
        self.lingers: list[bytes] = []

    def _fail(self) -> None:
        if self.error is not None:
            error, self.error = self.error, None
            raise error

    def recv_into(self, *arguments: Any) -> int:
        self._fail()
        return super().recv_into(*arguments)

    def send(self, *arguments: Any) -> int:
        self._fail()
        return super().send(*arguments)

    def shutdown(self, how: int) -> None:
        self._fail()
        super().shutdown(how)

    def setsockopt(self, *option: Any) -> None:
        if option[1] == socket.SO_LINGER:
            self.lingers.append(option[2])
            if len(option[2]) != self.takes_bytes:
                raise OSError(errno.EINVAL, "invalid argument")
        super().setsockopt(*option)


@asynccontextmanager
async def odd_bench() -> AsyncIterator[tuple[Bench, Odd]]:
    async with open_bench() as bench:
        bench.engine.unwatch(bench.leg)
        sock = Odd(bench.leg.sock)
        bench.leg.sock = sock
        bench.engine.watch(bench.leg)
        yield bench, sock


@pytest.mark.parametrize(
    ("number", "is_silence"),
    [
        *[(each, True) for each in (errno.ETIMEDOUT, errno.EHOSTUNREACH, errno.ENETUNREACH)],
        *[(each, True) for each in (errno.EHOSTDOWN, errno.ENETDOWN)],
        *[(each, False) for each in (errno.ECONNRESET, errno.EPIPE, 0)],
    ],
)
async def test_silence_has_other_errnos_than_a_reset(number: int, is_silence: bool) -> None:
    async with open_bench() as bench:
        bench.leg.broken = number
        assert bench.leg.timed_out == is_silence


@pytest.mark.parametrize(("number", "broken"), [(errno.ETIMEDOUT, errno.ETIMEDOUT), (None, errno.ECONNRESET)])
async def test_the_errno_that_a_call_met_first_stays(number: int | None, broken: int) -> None:
    async with odd_bench() as (bench, sock):
        sock.error = OSError(number, "as the test has it")
        assert bench.leg.receive_into(bench.engine.buffer) == BROKEN
        assert bench.leg.broken == broken
        sock.error = OSError(errno.EPIPE, "later")
        assert bench.leg.receive_into(bench.engine.buffer) == BROKEN
        sock.error = OSError(errno.EPIPE, "later")
        bench.leg.finish()
        assert bench.leg.broken == broken


@pytest.mark.parametrize(("number", "broken"), [(errno.ETIMEDOUT, errno.ETIMEDOUT), (None, errno.ECONNRESET)])
async def test_what_was_written_when_it_had_broken_is_undelivered_and_what_came_is_still_to_be_read(
    number: int | None, broken: int
) -> None:
    async with odd_bench() as (bench, sock):
        assert not bench.leg.readable
        sock.error = OSError(number, "as the test has it")
        bench.leg.write(b"12345")
        assert (bench.leg.broken, bench.leg.readable, bench.leg.unsent) == (broken, True, b"")
        bench.leg.write(b"")
        assert bench.leg.unacked_bytes() == 5
        assert bench.leg.find_broken()
        assert bench.leg.broken == broken


@pytest.mark.parametrize(("number", "broken"), [(errno.EPIPE, errno.EPIPE), (None, errno.ENOTCONN)])
async def test_a_fin_that_cannot_be_sent_finds_it_broken(number: int | None, broken: int) -> None:
    async with odd_bench() as (bench, sock):
        sock.error = OSError(number, "as the test has it")
        bench.leg.finish()
        assert bench.leg.broken == broken


@pytest.mark.parametrize(("takes_bytes", "lingers"), [(8, [8]), (4, [8, 4]), (0, [8, 4])])
async def test_a_reset_is_asked_for_in_each_kernels_way(takes_bytes: int, lingers: list[int]) -> None:
    async with odd_bench() as (bench, sock):
        sock.takes_bytes = takes_bytes
        bench.leg.reset()
        assert [len(each) for each in sock.lingers] == lingers
        for each in sock.lingers:
            half = len(each) // 2
            assert (int.from_bytes(each[:half], "little"), each[half:]) == (1, bytes(half))
        assert bench.leg.closed
        bench.leg.reset()
        assert [len(each) for each in sock.lingers] == lingers


async def test_what_has_ended_has_no_further_edge() -> None:
    async with open_bench() as bench:
        bench.leg.on_ready(True, False, True)
        bench.leg.on_ready(True, False, False)
        assert bench.leg._ended


async def test_a_host_without_one_of_the_probes_settings_uses_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(socket, "TCP_KEEPIDLE")
    async with open_bench() as bench:
        bench.leg.set_keepalive(75, 30, 4)
        options = (socket.TCP_KEEPINTVL, socket.TCP_KEEPCNT)
        assert [bench.leg.sock.getsockopt(socket.IPPROTO_TCP, option) for option in options] == [30, 4]


async def test_a_host_that_cannot_count_counts_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("relay.net.kernel_leg.unsent_bytes", lambda sock, fin_sent: None)
    monkeypatch.setattr("relay.net.kernel_leg.unread_bytes", lambda sock: None)
    async with open_bench() as bench:
        bench.leg.freeze()
        bench.leg.write(b"kept")
        assert (bench.leg.unacked_bytes(), bench.leg.unread_bytes()) == (4, 0)


async def test_nothing_is_no_write() -> None:
    async with open_bench() as bench:
        asked: list[int] = []
        bench.leg.ask_tos = lambda: asked.append(1)
        bench.leg.write(b"")
        assert not asked
        bench.leg.ask_tos = None


async def test_both_ends_have_addresses_until_the_leg_is_closed() -> None:
    async with open_bench() as bench:
        ours, theirs = (Endpoint(*address) for address in (bench.peer.getpeername(), bench.peer.getsockname()))
        assert (bench.leg.local, bench.leg.peer) == (ours, theirs)
        bench.leg.close()
        assert (bench.leg.local, bench.leg.peer) == (None, None)
        assert (bench.leg.readable, bench.leg.writable) == (False, False)


@pytest.mark.parametrize(("peer", "waiting"), [(Endpoint("127.0.0.1", 9), 7), (Endpoint("192.0.2.1", 9), 0), (None, 0)])
async def test_what_the_kernel_keeps_waits_for_a_peer_on_this_host_alone(
    peer: Endpoint | None, waiting: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("relay.net.kernel_leg.waiting_bytes", lambda sock: 7)
    monkeypatch.setattr(KernelLeg, "peer", property(lambda leg: peer))
    async with open_bench() as bench:
        bench.leg.freeze()
        bench.leg.write(b"kept")
        assert bench.leg.waiting_bytes() == waiting + 4


async def test_a_socket_that_cannot_be_watched_is_closed(monkeypatch: pytest.MonkeyPatch) -> None:
    near, peer = socket_pair()
    with peer:
        async with open_engine() as (engine, _):

            def full(_: object) -> None:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

            monkeypatch.setattr(engine, "watch", full)
            with pytest.raises(OSError, match=os.strerror(errno.ENOSPC)):
                KernelLeg(engine, near, Side.INTERNAL)
    assert near.fileno() < 0


async def test_a_leg_whose_peer_has_finished_is_closed_by_its_own_fin() -> None:
    async with open_bench() as bench:
        bench.peer.shutdown(socket.SHUT_WR)
        assert await bench.receive() == 0
        assert not bench.leg.closed
        bench.leg.finish()
        assert bench.leg.closed
        assert not bench.leg.broken
        assert bench.peer.recv(1) == b""


async def test_a_fin_that_was_sent_is_over_and_done_with() -> None:
    async with open_bench() as bench:
        bench.leg.finish()
        bench.peer.shutdown(socket.SHUT_WR)
        assert await bench.receive() == 0
        bench.leg.flush()
        assert not bench.leg.closed, "its owner closes it"


async def test_what_is_not_acknowledged_does_not_count_the_fin() -> None:
    async with open_bench() as bench:
        bench.leg.finish()
        assert bench.leg.unacked_bytes() == 0
        assert bench.peer.recv(1) == b""


async def test_a_splice_at_the_peers_fin_is_left_to_a_read() -> None:
    async with open_bench() as bench:
        pool = PipePool()
        pipe = pool.borrow()
        if pipe is None:
            pytest.skip("splice is Linux's")
        assert bench.leg.splice_into(pipe) == WOULD_BLOCK
        assert not bench.leg.readable
        bench.peer.sendall(b"abc")
        await bench.until(lambda: bench.leg.readable)
        assert bench.leg.splice_into(pipe) == 3
        bench.leg.write_from(pipe)
        assert read_exactly(bench.peer, 3) == b"abc"
        bench.peer.shutdown(socket.SHUT_WR)
        await bench.until(lambda: bench.leg._ended)
        assert bench.leg.splice_into(pool.borrow()) == 0  # type: ignore[arg-type]
        assert await bench.receive() == 0
        pool.close()


async def test_a_splice_meets_a_reset() -> None:
    async with open_bench() as bench:
        pool = PipePool()
        pipe = pool.borrow()
        if pipe is None:
            pytest.skip("splice is Linux's")
        reset(bench.peer)
        await bench.until(lambda: bench.leg.readable)
        assert bench.leg.splice_into(pipe) == BROKEN
        assert bench.leg.broken == errno.ECONNRESET
        pool.close()


async def test_after_a_short_read_the_next_edge_is_waited_for_unless_it_was_the_last() -> None:
    async with open_bench() as bench:
        bench.peer.sendall(b"abc")
        assert await bench.receive() == b"abc"
        assert not bench.leg.readable
        bench.peer.sendall(b"def")
        bench.peer.shutdown(socket.SHUT_WR)
        await bench.until(lambda: bench.leg._ended)
        assert await bench.receive() == b"def"
        assert bench.leg.readable, "no other edge comes"
        with anyio.fail_after(DEADLINE_S):
            assert await bench.receive() == 0
