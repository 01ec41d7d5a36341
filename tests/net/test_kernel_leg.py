"""What every leg does, whichever way its readiness is learnt, as a list of checks."""

from __future__ import annotations

import contextlib
import errno
import socket
import time
from collections.abc import Awaitable, Callable
from typing import TypeAlias

import anyio
import pytest

from relay.legs import BROKEN, WOULD_BLOCK, ending
from relay.legs.ending import reset_after_data, wind_down
from support.bench import DEADLINE_S, Bench, in_thread, open_bench
from support.origins import read_exactly, read_until_over, reset, wait_until_acknowledged

MUCH = bytes(range(256)) * 100_000  # 25 MB: more than the kernel takes in

Check: TypeAlias = Callable[[Bench], Awaitable[None]]

pytestmark = pytest.mark.anyio


async def reads_bytes_then_blocks_then_reads_on(bench: Bench) -> None:
    bench.peer.sendall(b"first")
    assert await bench.receive() == b"first"
    assert bench.leg.receive_into(bench.engine.buffer) == WOULD_BLOCK
    assert not bench.leg.readable
    bench.peer.sendall(b"second")
    assert await bench.receive() == b"second"


async def reads_no_more_than_there_is_room_for(bench: Bench) -> None:
    bench.peer.sendall(b"0123456789")
    await bench.until(lambda: bench.leg.unread_bytes() == 10)
    assert await bench.receive(4) == b"0123"
    assert bench.leg.readable
    assert bench.leg.unread_bytes() == 6
    assert await bench.receive() == b"456789"


async def a_fin_is_read_as_zero_after_the_bytes(bench: Bench) -> None:
    bench.peer.sendall(b"last")
    bench.peer.shutdown(socket.SHUT_WR)
    assert [await bench.receive(), await bench.receive()] == [b"last", 0]
    bench.leg.write(b"answer")
    assert read_exactly(bench.peer, 6) == b"answer"


async def a_rst_is_found_after_the_bytes(bench: Bench) -> None:
    bench.peer.sendall(b"last")
    wait_until_acknowledged(bench.peer)
    reset(bench.peer)
    assert [await bench.receive(), await bench.receive()] == [b"last", BROKEN]
    assert bench.leg.broken == errno.ECONNRESET
    assert not bench.leg.timed_out


async def a_rst_that_a_write_met_is_still_found_after_the_bytes(bench: Bench) -> None:
    bench.peer.sendall(b"last")
    wait_until_acknowledged(bench.peer)
    await bench.until(lambda: bench.leg.readable)
    reset(bench.peer)
    while not bench.leg.broken:
        bench.leg.write(b"into the void")
        await anyio.lowlevel.checkpoint()
    assert [await bench.receive(), await bench.receive()] == [b"last", BROKEN]
    assert not bench.leg.unsent


async def a_rst_after_a_fin_is_found_by_asking(bench: Bench) -> None:
    bench.peer.shutdown(socket.SHUT_WR)
    assert await bench.receive() == 0
    assert not bench.leg.find_broken()
    reset(bench.peer)
    await bench.until(bench.leg.find_broken)
    assert bench.leg.broken in {errno.ECONNRESET, errno.EPIPE}


async def a_fin_to_a_peer_that_has_reset_finds_it_broken(bench: Bench) -> None:
    linger_0 = b"\1\0\0\0\0\0\0\0"
    bench.peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger_0)
    bench.peer.close()
    await bench.until(lambda: bench.leg.readable)
    bench.leg.finish()
    assert bench.leg.broken
    assert await bench.receive() == BROKEN


async def a_second_fin_is_none_and_hides_no_reset(bench: Bench) -> None:
    bench.leg.finish()
    reset(bench.peer)
    await bench.until(lambda: bench.leg.readable)
    bench.leg.finish()
    assert await bench.receive() == BROKEN
    assert bench.leg.broken == errno.ECONNRESET


async def keeps_what_the_kernel_does_not_take(bench: Bench) -> None:
    bench.leg.write(MUCH)
    bench.leg.write(b"more")
    assert len(bench.leg.unsent) > 4
    assert bench.leg.unacked_bytes() > len(bench.leg.unsent)
    assert await in_thread(receive_exactly, bench.peer, len(MUCH) + 4) == MUCH + b"more"
    await bench.until(lambda: bench.leg.unacked_bytes() == 0)


async def a_fin_waits_for_what_is_unsent_and_reading_goes_on(bench: Bench) -> None:
    bench.leg.write(MUCH)
    bench.leg.finish()
    assert await in_thread(read_until_over, bench.peer) == (MUCH, "fin")
    bench.peer.sendall(b"still here")
    assert await bench.receive() == b"still here"


async def a_reset_is_a_rst_at_once(bench: Bench) -> None:
    bench.leg.reset()
    assert await in_thread(read_until_over, bench.peer) == (b"", "rst")
    assert bench.leg.closed
    bench.leg.reset()
    bench.leg.close()


async def a_reset_after_data_lets_a_slow_peer_have_it_all(bench: Bench) -> None:
    bench.leg.write(MUCH)
    reset_after_data(bench.leg)
    assert await in_thread(read_until_over, bench.peer) == (MUCH, "rst")
    await bench.until(lambda: bench.leg.closed)


async def a_reset_after_data_does_not_wait_for_a_peer_that_takes_nothing(bench: Bench) -> None:
    bench.leg.write(MUCH)
    reset_after_data(bench.leg)
    await check_cut_short(bench)


async def winding_down_delivers_the_last_words_to_a_peer_that_talks_on(bench: Bench) -> None:
    bench.leg.write(b"go away")
    wind_down(bench.leg)
    await in_thread(bench.peer.sendall, MUCH)
    assert await in_thread(read_until_over, bench.peer) == (b"go away", "fin")
    assert not bench.leg.closed
    bench.peer.close()
    await bench.until(lambda: bench.leg.closed)


async def winding_down_lasts_as_long_as_the_peer_takes_its_last_words(bench: Bench) -> None:
    bench.leg.write(MUCH)
    wind_down(bench.leg)
    assert await in_thread(read_slowly, bench.peer) == MUCH


async def winding_down_does_not_make_complete_what_the_peer_does_not_take(bench: Bench) -> None:
    bench.leg.write(MUCH)
    wind_down(bench.leg)
    await check_cut_short(bench)


async def winding_down_drops_input_in_turn_with_others(bench: Bench) -> None:
    bench.engine.buffer = memoryview(bytearray(10))
    bench.peer.sendall(bytes(1000))
    await bench.until(lambda: bench.leg.unread_bytes() == 1000)
    wind_down(bench.leg)
    for _ in range(5):
        bench.leg.on_ready(True, False, False)
    assert (len(bench.engine._deferred), bench.leg.unread_bytes()) == (1, 990)


async def winding_down_does_not_last_for_ever(bench: Bench) -> None:
    wind_down(bench.leg)
    await bench.until(lambda: bench.leg.closed)


async def asks_for_the_tos_byte_before_each_read_and_after_each_write(bench: Bench) -> None:
    asked: list[int] = []
    bench.leg.ask_tos = lambda: asked.append(bench.leg.unacked_bytes() + bench.leg.unread_bytes())
    bench.peer.sendall(b"abc")
    await bench.until(lambda: bench.leg.unread_bytes() == 3)
    assert await bench.receive() == b"abc"
    assert asked == [3]
    bench.leg.write(MUCH)
    assert len(asked) == 2
    assert asked[1] > 0


async def does_not_read_a_socket_that_asking_has_closed(bench: Bench) -> None:
    bench.leg.ask_tos = bench.leg.reset
    bench.peer.sendall(b"abc")
    assert await bench.receive() == WOULD_BLOCK


async def a_reset_after_data_comes_through_though_both_windows_were_closed(bench: Bench) -> None:
    bench.leg.write(MUCH)
    bench.peer.setblocking(False)
    with contextlib.suppress(BlockingIOError):
        while True:
            bench.peer.send(bytes(739))  # pieces that do not fill the window to the byte
    reset_after_data(bench.leg)
    bench.peer.settimeout(DEADLINE_S)
    data, how = await in_thread(read_until_over, bench.peer)
    assert (len(data), how) == (len(MUCH), "rst")


async def a_frozen_leg_keeps_what_is_written_until_it_is_thawed(bench: Bench) -> None:
    asked: list[int] = []
    bench.leg.freeze()
    bench.leg.write(b"kept")
    bench.leg.finish()
    bench.leg.flush()
    assert not bench.leg.has_room
    assert (bench.leg.waiting_bytes(), bench.leg.unacked_bytes()) == (4, 4)
    bench.leg.ask_tos = lambda: asked.append(1)
    calls = bench.owner.calls
    bench.leg.thaw()
    assert (len(asked), bench.owner.calls) == (1, calls + 1)
    assert await in_thread(read_until_over, bench.peer) == (b"kept", "fin")
    bench.leg.close()
    bench.leg.freeze()
    bench.leg.thaw()
    assert (len(asked), bench.owner.calls) == (1, calls + 1)


async def a_closed_leg_makes_no_calls(bench: Bench) -> None:
    bench.peer.sendall(b"x")
    await bench.until(lambda: bench.owner.calls)
    assert await bench.receive() == b"x"
    bench.leg.close()
    calls = bench.owner.calls
    assert read_until_over(bench.peer) == (b"", "fin")
    bench.peer.sendall(b"anybody?")
    for _ in range(5):
        await anyio.lowlevel.checkpoint()
    assert bench.owner.calls == calls


async def probes_are_the_kernels(bench: Bench) -> None:
    bench.leg.set_keepalive(75, 30, 4)
    options = (socket.TCP_KEEPIDLE, socket.TCP_KEEPINTVL, socket.TCP_KEEPCNT)
    assert [bench.leg.sock.getsockopt(socket.IPPROTO_TCP, option) for option in options] == [75, 30, 4]
    bench.leg.set_keepalive(75_000, 30_000_000, 4)  # as with --time-scale 0.001: EINVAL to the kernel
    assert [bench.leg.sock.getsockopt(socket.IPPROTO_TCP, option) for option in options] == [32_767, 32_767, 4]
    assert bench.leg.sock.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)


async def a_limited_buffer_acknowledges_about_as_much(bench: Bench) -> None:
    bench.leg.limit_window(20_000)
    bench.peer.setblocking(False)
    bench.peer.send(MUCH)
    await bench.until(lambda: bench.leg.unread_bytes() > 10_000)
    assert bench.leg.unread_bytes() < 100_000, "kernels round up, but not by that much"


async def check_cut_short(bench: Bench) -> None:
    """Whether the leg ends, and its peer learns that it has not had everything."""
    await bench.until(lambda: bench.leg.closed)
    data, how = await in_thread(read_until_over, bench.peer)
    assert (MUCH.startswith(data), len(data) < len(MUCH), how) == (True, True, "rst")


def read_slowly(connection: socket.socket) -> bytes:
    """To the end, over more than half a second."""
    data = bytearray()
    while more := connection.recv(1 << 20):
        data += more
        time.sleep(0.5 * len(more) / len(MUCH))
    return bytes(data)


def receive_exactly(connection: socket.socket, count: int) -> bytes:
    data = bytearray()
    while len(data) < count:
        data += connection.recv(count - len(data))
    return bytes(data)


CHECKS: tuple[Check, ...] = (
    reads_bytes_then_blocks_then_reads_on,
    reads_no_more_than_there_is_room_for,
    a_fin_is_read_as_zero_after_the_bytes,
    a_rst_is_found_after_the_bytes,
    a_rst_that_a_write_met_is_still_found_after_the_bytes,
    a_rst_after_a_fin_is_found_by_asking,
    a_fin_to_a_peer_that_has_reset_finds_it_broken,
    a_second_fin_is_none_and_hides_no_reset,
    keeps_what_the_kernel_does_not_take,
    a_fin_waits_for_what_is_unsent_and_reading_goes_on,
    a_reset_is_a_rst_at_once,
    a_reset_after_data_lets_a_slow_peer_have_it_all,
    a_reset_after_data_does_not_wait_for_a_peer_that_takes_nothing,
    winding_down_delivers_the_last_words_to_a_peer_that_talks_on,
    winding_down_lasts_as_long_as_the_peer_takes_its_last_words,
    winding_down_does_not_make_complete_what_the_peer_does_not_take,
    winding_down_drops_input_in_turn_with_others,
    winding_down_does_not_last_for_ever,
    asks_for_the_tos_byte_before_each_read_and_after_each_write,
    does_not_read_a_socket_that_asking_has_closed,
    a_reset_after_data_comes_through_though_both_windows_were_closed,
    a_frozen_leg_keeps_what_is_written_until_it_is_thawed,
    a_closed_leg_makes_no_calls,
    probes_are_the_kernels,
    a_limited_buffer_acknowledges_about_as_much,
)

PATIENCE_S = {
    winding_down_lasts_as_long_as_the_peer_takes_its_last_words: ("WIND_DOWN_S", 0.2),
    winding_down_does_not_make_complete_what_the_peer_does_not_take: ("WIND_DOWN_S", 0.2),
    winding_down_does_not_last_for_ever: ("WIND_DOWN_S", 0.2),
    a_reset_after_data_does_not_wait_for_a_peer_that_takes_nothing: ("_DRAIN_STALL_S", 0.2),
}
"""The checks that wait for a leg's patience to end have it end sooner."""


def _name_of(check: Check) -> str:
    return check.__name__


async def check_leg(check: Check, host: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Run one check on a leg that is connected to `host`."""
    if check in PATIENCE_S:
        monkeypatch.setattr(ending, *PATIENCE_S[check])
    async with open_bench(host) as bench:
        await check(bench)


quick = pytest.mark.parametrize("check", [check for check in CHECKS if check not in PATIENCE_S], ids=_name_of)
patient = pytest.mark.parametrize("check", PATIENCE_S, ids=_name_of)


@quick
async def test_a_leg(check: Check, readiness: str, monkeypatch: pytest.MonkeyPatch) -> None:
    await check_leg(check, "127.0.0.1", monkeypatch)


@quick
async def test_a_leg_over_ipv6(check: Check, monkeypatch: pytest.MonkeyPatch) -> None:
    await check_leg(check, "::1", monkeypatch)


@patient
async def test_a_leg_whose_patience_ends(check: Check, monkeypatch: pytest.MonkeyPatch) -> None:
    await check_leg(check, "127.0.0.1", monkeypatch)


@pytest.mark.system
@patient
async def test_so_it_does_on_every_host(check: Check, readiness: str, monkeypatch: pytest.MonkeyPatch) -> None:
    await check_leg(check, "127.0.0.1", monkeypatch)
