"""A relay's clocks: the NAT's can be moved, and nothing that a test does to its process's clocks stops the relay."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import TypeVar

import pytest
import trio
import trio.testing
from freezegun import freeze_time

import relay
from relay.errors import ConfigError
from relay.legs import Process
from relay.loop.alarm import Alarm, AlarmThread, open_alarm
from relay.loop.engine import Engine
from relay.net.kernel_leg import KernelLeg
from relay.testing import serve_in_thread
from support.alarms import with_alarms
from support.capabilities import need_tos
from support.clients import connect, connect_by_port, is_reset_by
from support.origins import Origin, echo, read_exactly

ResultT = TypeVar("ResultT")
HANDSHAKE_S = 0.3  # longer than a busy host takes for a client's request
QUIET_S = 0.1
AF21 = 0x48


@pytest.fixture
def origin() -> Iterator[Origin]:
    with Origin(echo) as origin:
        yield origin


def exchange(sock: socket.socket) -> None:
    sock.sendall(b"hello")
    assert read_exactly(sock, 5) == b"hello"


# Clocks of the process


@pytest.mark.parametrize(
    ("when", "alarm"), [("before it starts", open_alarm), ("later", open_alarm), ("later", AlarmThread)]
)
def test_a_relay_serves_and_its_timeouts_fire_while_time_is_frozen(
    backend: str, when: str, alarm: Callable[[], Alarm], origin: Origin, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("relay.loop.waker.open_alarm", alarm)
    with ExitStack() as stack:
        if when != "later":
            stack.enter_context(freeze_time("2020-01-01"))
        nat = stack.enter_context(
            serve_in_thread("transparent", backend=backend, handshake_timeout_s=HANDSHAKE_S, time_scale=1000)
        )
        if when == "later":
            stack.enter_context(freeze_time("2020-01-01"))
        with connect(nat, "socks5", origin.host, origin.port) as sock:
            exchange(sock)
        with socket.create_connection(nat.address, timeout=20) as silent:
            assert silent.recv(1) == b""
        failed = nat.wait_for("handshake-failed")
        assert failed.at_s >= 1000 * HANDSHAKE_S
        assert abs(failed.at(nat._relay.log.started_at) - time.clock_gettime(time.CLOCK_REALTIME)) < 60
        with socket.create_connection(nat.address, timeout=20):  # its limit is not due yet
            before_s = time.process_time()
            threading.Event().wait(QUIET_S)
            assert time.process_time() - before_s < QUIET_S / 2


def test_a_relay_serves_on_while_the_clock_jumps_to_and_fro(backend: str, origin: Origin) -> None:
    """As a host's wall clock does when it is set; limits go by the time that passes, and records by both."""
    with (
        freeze_time("2026-01-01") as frozen,
        serve_in_thread("transparent", backend=backend, handshake_timeout_s=HANDSHAKE_S, idle_timeout_s=3600) as nat,
        connect(nat, "socks5", origin.host, origin.port) as sock,
    ):
        for when in ("2036-01-01", "1999-12-31", "2026-01-01"):
            frozen.move_to(when)
            exchange(sock)
            with socket.create_connection(nat.address, timeout=20) as silent:
                began_s = time.clock_gettime(time.CLOCK_MONOTONIC)
                assert silent.recv(1) == b"", "no request within the limit"
                assert HANDSHAKE_S / 2 < time.clock_gettime(time.CLOCK_MONOTONIC) - began_s < 10
            assert nat.advance(1800)[-1].event == "time-advanced"
        nat.advance(1800)
        assert nat.wait_for("flow-ended", because="idle-timeout").fields["duration_s"] == pytest.approx(7200, abs=60)
        assert [record.at_s for record in nat.events] == sorted(record.at_s for record in nat.events)
        for record in nat.events:
            assert abs(record.at(nat.log.started_at) - time.clock_gettime(time.CLOCK_REALTIME)) < 60


@pytest.fixture
def turns(monkeypatch: pytest.MonkeyPatch) -> list[None]:
    """Grows with each turn that an engine takes."""
    counted: list[None] = []
    turn = Engine._turn

    def counting_turn(engine: Engine) -> None:
        counted.append(None)
        turn(engine)

    monkeypatch.setattr(Engine, "_turn", counting_turn)
    return counted


@pytest.mark.timeout(60)
@pytest.mark.parametrize(
    "clock",
    [trio.testing.MockClock(rate=0), trio.testing.MockClock(autojump_threshold=0)],
    ids=["stands still", "jumps"],
)
def test_a_relay_serves_and_its_timeouts_fire_on_a_mock_clock(
    clock: trio.testing.MockClock, turns: list[None], origin: Origin
) -> None:
    async def main() -> None:
        options = relay.RelayOptions(handshake_timeout_s=HANDSHAKE_S)
        async with relay.open_relay("transparent", **options) as nat:
            assert nat.address is not None
            address = nat.address
            with await in_thread(connect_by_port, address.port, origin.host, origin.port) as sock:
                await in_thread(exchange, sock)
                with socket.create_connection(address) as silent:
                    began_s = time.monotonic()
                    await trio.lowlevel.wait_readable(silent)
                    assert time.monotonic() - began_s > HANDSHAKE_S / 2
                before = len(turns)
                await in_thread(threading.Event().wait, QUIET_S)
                assert len(turns) - before < 20
                await nat.drain(0.1)  # and not until the flow has ended
                assert nat.flow_count == 1

    trio.run(main, clock=clock)


def look_up_slowly(monkeypatch: pytest.MonkeyPatch, within_s: float, find: Callable[[KernelLeg], Process]) -> None:
    """Have the app's process be found by a thread alone, which has so long for it."""
    monkeypatch.setattr("relay.driver.driver._OWNER_WITHIN_S", within_s)
    monkeypatch.setattr(KernelLeg, "glimpse_process", lambda leg: None)
    monkeypatch.setattr(KernelLeg, "find_process", find)


async def process_of_a_flow(nat: relay.AsyncRelay, origin: Origin) -> Process | None:
    assert nat.address is not None
    with await in_thread(connect_by_port, nat.address.port, origin.host, origin.port):
        return (await nat.wait_for("flow-opened", timeout_s=20)).process


@pytest.mark.timeout(60)
def test_a_process_is_looked_for_as_long_by_a_mock_clock_that_jumps(
    origin: Origin, monkeypatch: pytest.MonkeyPatch
) -> None:
    def find(leg: KernelLeg) -> Process:
        threading.Event().wait(0.05)
        return 4711, "ssh"

    async def main() -> None:
        async with relay.open_relay("transparent") as nat:
            assert await process_of_a_flow(nat, origin) == (4711, "ssh")

    look_up_slowly(monkeypatch, 20.0, find)
    trio.run(main, clock=trio.testing.MockClock(autojump_threshold=0))


@pytest.mark.timeout(60)
def test_a_process_is_looked_for_no_longer_by_a_mock_clock_that_stands_still(
    origin: Origin, monkeypatch: pytest.MonkeyPatch
) -> None:
    released = threading.Event()

    def find(leg: KernelLeg) -> Process:
        released.wait(60)
        return 4711, "ssh"

    async def main() -> None:
        async with relay.open_relay("transparent") as nat:
            try:
                assert await process_of_a_flow(nat, origin) is None
            finally:
                released.set()

    look_up_slowly(monkeypatch, 0.05, find)
    trio.run(main, clock=trio.testing.MockClock(rate=0))


async def in_thread(function: Callable[..., ResultT], *arguments: object) -> ResultT:
    return await trio.to_thread.run_sync(function, *arguments)


# The NAT's clock


def test_the_delayed_fin_of_tos_reset_comes_at_once(backend: str, origin: Origin) -> None:
    need_tos()
    late = {"external_close_delay_ms": 60_000}
    with serve_in_thread("vmware-fusion", backend=backend, tos_reset=late) as nat:
        with connect(nat, "forward", origin.host, origin.port) as sock:
            exchange(sock)
            sock.setsockopt(socket.IPPROTO_IP, socket.IP_TOS, AF21)
            assert is_reset_by(sock, b"x")
        nat.wait_for("rst-sent", side="internal")
        nat.advance(30)
        assert "fin-sent" not in {record.event for record in nat.events}
        nat.advance(30)
        assert "fin-sent" in {record.event for record in nat.events}
        assert nat.wait_for("flow-ended").fields["duration_s"] >= 60


def test_a_flow_is_idle_by_the_nat_s_clock_and_its_client_by_the_real_one(backend: str, origin: Origin) -> None:
    with (
        serve_in_thread("transparent", backend=backend, idle_timeout_s=3600, handshake_timeout_s=60) as nat,
        socket.create_connection(nat.address, timeout=20) as early,
        connect(nat, "socks5", origin.host, origin.port) as sock,
    ):
        exchange(sock)
        nat.advance(2 * 3600)
        assert nat.wait_for("flow-ended", timeout_s=0).fields["because"] == "idle-timeout"
        early.sendall(b"\x05\x01\x00")
        assert read_exactly(early, 2) == b"\x05\x00"


def test_a_change_of_scale_holds_for_timers_that_run_already(backend: str, origin: Origin) -> None:
    with (
        serve_in_thread(with_alarms(), backend=backend) as nat,
        connect(nat, "forward", origin.host, origin.port) as sock,
    ):
        exchange(sock)
        nat.time_scale = 1000
        nat.wait_for("note", text="last", timeout_s=20)


def test_a_clock_is_not_moved_back(backend: str) -> None:
    with serve_in_thread("transparent", backend=backend) as nat:
        for seconds in (-1.0, float("nan"), float("inf")):
            with pytest.raises(ConfigError, match=r"advance: .* is out of range"):
                nat.advance(seconds)
        nat.advance(0)
