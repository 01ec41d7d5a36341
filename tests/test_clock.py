"""Nothing that a test does to its process's clocks stops a relay in the same process."""

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
from relay.net.alarm import Alarm, AlarmThread, open_alarm
from relay.net.engine import Engine
from relay.testing import serve_in_thread
from support.clients import connect, connect_by_port
from support.origins import Origin, echo, read_exactly

ResultT = TypeVar("ResultT")
HANDSHAKE_S = 0.2
QUIET_S = 0.5


@pytest.fixture
def origin() -> Iterator[Origin]:
    with Origin(echo) as origin:
        yield origin


def exchange(sock: socket.socket) -> None:
    sock.sendall(b"hello")
    assert read_exactly(sock, 5) == b"hello"


@pytest.mark.parametrize(
    ("when", "alarm"), [("before it starts", open_alarm), ("later", open_alarm), ("later", AlarmThread)]
)
def test_a_relay_serves_and_its_timeouts_fire_while_time_is_frozen(
    backend: str, when: str, alarm: Callable[[], Alarm], origin: Origin, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("relay.net.waker.open_alarm", alarm)
    with ExitStack() as stack:
        if when != "later":
            stack.enter_context(freeze_time("2020-01-01"))
        nat = stack.enter_context(serve_in_thread("transparent", backend=backend, handshake_timeout_s=HANDSHAKE_S))
        if when == "later":
            stack.enter_context(freeze_time("2020-01-01"))
        with connect(nat, "socks5", origin.host, origin.port) as sock:
            exchange(sock)
        with socket.create_connection(nat.address, timeout=20) as silent:
            assert silent.recv(1) == b""
        failed = nat.wait_for("handshake-failed")
        assert failed.at_s >= HANDSHAKE_S
        assert abs((nat._relay.log.started_at + failed.at_s) - time.clock_gettime(time.CLOCK_REALTIME)) < 60
        with socket.create_connection(nat.address, timeout=20):  # its limit is not due yet
            before_s = time.process_time()
            threading.Event().wait(QUIET_S)
            assert time.process_time() - before_s < QUIET_S / 2


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


async def in_thread(function: Callable[..., ResultT], *arguments: object) -> ResultT:
    return await trio.to_thread.run_sync(function, *arguments)
