"""Dials: one address after the other, and what the kernel answers becomes a failure by errno."""

from __future__ import annotations

import errno
import socket
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from typing import NoReturn

import anyio
import pytest

from relay.address import Endpoint
from relay.events import DialFailure, FailureKind, Side
from relay.loop.engine import Engine
from relay.net.connect import Connector
from relay.net.dial import Address, Dial, failure_of
from relay.net.resolve import address_of
from support.bench import DEADLINE_S, open_engine

pytestmark = pytest.mark.anyio

_OTHER = address_of("127.0.0.2", 1)


class Outcome:
    """How a dial ended."""

    def __init__(self, engine: Engine, addresses: Sequence[Address], timeout_s: float, source: str | None) -> None:
        self.addresses: list[str] = []
        self.failures: list[DialFailure] = []
        self._engine = engine
        self._ended = anyio.Event()
        self.dial = Dial(
            engine,
            addresses,
            timeout_s=timeout_s,
            source=source,
            connected=self._on_connected,
            failed=self._on_failed,
        )
        self.ended_within_the_call = bool(self.addresses or self.failures)

    def _on_connected(self, sock: socket.socket, address: Endpoint) -> None:
        assert not list(self._engine._readiness.watched()), "it is the leg's to watch"
        assert sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
        assert not sock.getblocking()
        sock.close()
        self.addresses.append(str(address))
        self._ended.set()

    def _on_failed(self, failure: DialFailure) -> None:
        self.failures.append(failure)
        self._ended.set()

    async def wait(self) -> None:
        with anyio.fail_after(DEADLINE_S):
            await self._ended.wait()
        assert not self.ended_within_the_call
        assert self.dial._timer is None or self.dial._timer.take() is None
        assert len(self.addresses) + len(self.failures) == 1


@asynccontextmanager
async def dialling(
    *addresses: Address, timeout_s: float = DEADLINE_S, source: str | None = None
) -> AsyncIterator[Outcome]:
    async with open_engine() as (engine, faults):
        yield Outcome(engine, addresses, timeout_s, source)
        assert not engine.unwatched
    assert not faults


def unused_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])


@pytest.fixture(params=[True, False], ids=["asked-again", "awaited"])
def asks_again(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whether a connect that is under way is asked for again at once, as on Linux, or awaited, as elsewhere."""
    if not request.param:
        monkeypatch.setattr("relay.net.dial._ASKS_AGAIN", False)
        monkeypatch.setattr("relay.net.dial._NON_BLOCKING", 0)


@pytest.mark.usefixtures("asks_again")
async def test_the_next_address_is_tried_after_one_that_refuses() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        async with dialling(address_of("127.0.0.1", unused_port()), address_of("127.0.0.1", port)) as outcome:
            await outcome.wait()
    assert outcome.addresses == [f"127.0.0.1:{port}"]


@pytest.mark.usefixtures("asks_again")
async def test_the_last_address_says_why_none_was_reached() -> None:
    first, last = unused_port(), unused_port()
    async with dialling(address_of("127.0.0.1", first), address_of("127.0.0.1", last)) as outcome:
        await outcome.wait()
    assert outcome.failures == [DialFailure(FailureKind.REFUSED, f"127.0.0.1:{last}: ECONNREFUSED")]


async def test_no_address_is_a_name_that_was_not_resolved() -> None:
    async with dialling() as outcome:
        await outcome.wait()
    assert outcome.failures[0].kind is FailureKind.NOT_RESOLVED


async def test_a_source_of_another_family_reaches_nothing() -> None:
    async with dialling(address_of("127.0.0.1", unused_port()), source="::1") as outcome:
        await outcome.wait()
    assert outcome.failures[0].kind is FailureKind.NETWORK_UNREACHABLE


async def test_the_source_is_what_the_server_sees() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        async with dialling(address_of("127.0.0.1", listener.getsockname()[1]), source="127.0.0.7") as outcome:
            await outcome.wait()
            accepted, peer = listener.accept()
            accepted.close()
    assert peer[0] == "127.0.0.7"


@pytest.mark.parametrize(
    ("number", "kind"),
    [
        (errno.EMFILE, FailureKind.EXHAUSTED),
        (errno.ENETUNREACH, FailureKind.NETWORK_UNREACHABLE),
        (errno.EHOSTUNREACH, FailureKind.HOST_UNREACHABLE),
        (errno.EACCES, FailureKind.DENIED),
        (errno.ENOTSUP, FailureKind.OTHER),
        (None, FailureKind.OTHER),
    ],
)
async def test_an_error_of_the_kernels_is_a_failure_of_its_kind(
    number: int | None, kind: FailureKind, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with open_engine() as (engine, faults):

        def fail(*_: object) -> NoReturn:
            raise OSError(number, "as the test has it")

        monkeypatch.setattr("relay.net.dial.socket.socket", fail)
        try:
            outcome = Outcome(engine, [address_of("127.0.0.1", 1)], DEADLINE_S, None)
        finally:
            monkeypatch.undo()
        await outcome.wait()
    assert outcome.failures[0].kind is kind
    name = errno.errorcode[number or errno.EIO]
    assert outcome.failures[0].detail == f"127.0.0.1:1: {name}"
    assert not faults


@pytest.mark.parametrize(
    ("numbers", "kind"),
    [
        ((errno.ECONNREFUSED, errno.ECONNRESET), FailureKind.REFUSED),
        (
            (errno.ENETUNREACH, errno.ENETDOWN, errno.EAFNOSUPPORT, errno.EADDRNOTAVAIL),
            FailureKind.NETWORK_UNREACHABLE,
        ),
        ((errno.EHOSTUNREACH, errno.EHOSTDOWN), FailureKind.HOST_UNREACHABLE),
        ((errno.ETIMEDOUT,), FailureKind.TIMED_OUT),
        ((errno.EACCES, errno.EPERM), FailureKind.DENIED),
        ((errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM), FailureKind.EXHAUSTED),
        ((errno.EIO,), FailureKind.OTHER),
    ],
)
def test_every_errno_has_its_kind_and_is_named(numbers: tuple[int, ...], kind: FailureKind) -> None:
    for number in numbers:
        assert failure_of(number, "a:1") == DialFailure(kind, f"a:1: {errno.errorcode[number]}")


def test_an_errno_without_a_name_is_shown_as_its_number() -> None:
    assert failure_of(54_321, "a:1") == DialFailure(FailureKind.OTHER, "a:1: 54321")


@pytest.mark.parametrize("number", [errno.EINPROGRESS, errno.EALREADY, errno.EWOULDBLOCK])
async def test_a_connect_that_is_under_way_is_awaited_however_its_kernel_says_so(
    number: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Hesitant(socket.socket):
        def connect_ex(self, address: tuple[str, int]) -> int:  # type: ignore[override]
            return super().connect_ex(address) and number

    monkeypatch.setattr("relay.net.dial._ASKS_AGAIN", False)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        with monkeypatch.context() as hesitant:
            hesitant.setattr("relay.net.dial.socket.socket", Hesitant)
            async with dialling(address_of("127.0.0.1", port)) as outcome:
                await outcome.wait()
    assert outcome.addresses == [f"127.0.0.1:{port}"]


@asynccontextmanager
async def full_backlog() -> AsyncIterator[int]:
    """A port whose SYNs the kernel drops, for nothing accepts and the queue is full."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        fillers = []
        for _ in range(3):
            filler = socket.socket()
            filler.setblocking(False)
            filler.connect_ex(listener.getsockname())
            fillers.append(filler)
        await anyio.sleep(0.05)
        try:
            yield listener.getsockname()[1]
        finally:
            for filler in fillers:
                filler.close()


async def test_silence_is_a_failure_once_the_time_is_over() -> None:
    async with full_backlog() as port, dialling(address_of("127.0.0.1", port), _OTHER, timeout_s=0.05) as outcome:
        await outcome.wait()
    assert outcome.failures == [DialFailure(FailureKind.TIMED_OUT, f"127.0.0.1:{port} did not answer within 0.05 s")]


async def abandon_at_once(outcome: Outcome) -> None:
    outcome.dial.abandon()


async def abandon_later(outcome: Outcome) -> None:
    await anyio.sleep(0.02)
    outcome.dial.abandon()


@pytest.mark.parametrize("abandon", [abandon_at_once, abandon_later])
async def test_a_dial_that_is_abandoned_calls_neither_and_leaves_no_socket(
    abandon: Callable[[Outcome], Awaitable[None]],
) -> None:
    async with full_backlog() as port, dialling(address_of("127.0.0.1", port), timeout_s=0.1) as outcome:
        await abandon(outcome)
        await anyio.sleep(0.15)
        assert not hasattr(outcome.dial, "sock")
    assert not outcome.addresses
    assert not outcome.failures


@pytest.mark.parametrize("refuses", [True, False])
async def test_what_was_found_at_once_is_not_reported_after_abandon(refuses: bool) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = unused_port() if refuses else listener.getsockname()[1]
        async with dialling(address_of("127.0.0.1", port)) as outcome:
            outcome.dial.abandon()
            for _ in range(5):
                await anyio.lowlevel.checkpoint()
    assert (outcome.addresses, outcome.failures) == ([], [])


async def test_a_socket_that_is_found_ready_without_being_connected_is_waited_for() -> None:
    async with full_backlog() as port, dialling(address_of("127.0.0.1", port)) as outcome:
        for writable in (True, False):
            outcome.dial.on_ready(True, writable, True)
        assert (outcome.addresses, outcome.failures) == ([], [])
        assert outcome.dial.sock in outcome._engine.unwatched
        outcome.dial.abandon()


@pytest.mark.parametrize("wait_s", [0.0, 0.02])
async def test_a_connection_that_is_abandoned_gives_up_its_dial(wait_s: float) -> None:
    called: list[object] = []
    async with full_backlog() as port, open_engine() as (engine, faults):
        connector = Connector(engine, overrides=(), source=None, timeout_s=0.1)
        connecting = connector.connect(
            Endpoint("127.0.0.1", port), Side.EXTERNAL, lambda *each: called.append(each), called.append, lambda: None
        )
        await anyio.sleep(wait_s)
        connecting.abandon()
        assert not engine.unwatched
        await anyio.sleep(0.15)
        assert not faults
    assert called == []
