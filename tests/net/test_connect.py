"""From a destination to a connection: what is answered without a resolver, what is refused, and what is given up."""

from __future__ import annotations

import errno
import socket
import threading
from collections.abc import Callable, Iterator
from typing import Any

import anyio
import anyio.lowlevel
import pytest

from relay.address import Endpoint, ResolveOverride
from relay.errors import ConfigError
from relay.events import DialFailure, FailureKind, Side
from relay.loop.engine import Engine
from relay.loop.timers import Timer
from relay.net import resolve
from relay.net.connect import Connecting, Connector, demand_own
from relay.net.dial import Address
from relay.net.kernel_leg import KernelLeg
from relay.net.resolve import address_of
from support.bench import DEADLINE_S, open_engine

pytestmark = pytest.mark.anyio


class Asked:
    """A resolver's answers, and what it was asked."""

    def __init__(self) -> None:
        self.names: list[str] = []
        self.answers: dict[str, list[str]] = {}
        self.may_answer = threading.Event()
        self.may_answer.set()

    def addresses_of(self, host: str, flags: int = 0) -> list[str]:
        self.names.append(host)
        assert self.may_answer.wait(DEADLINE_S)
        return self.answers.get(host, [])


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> Iterator[Asked]:
    resolver = Asked()
    monkeypatch.setattr(resolve, "addresses_of", resolver.addresses_of)
    monkeypatch.setattr(resolve, "names_of", lambda address: [f"{address}.test"])
    yield resolver
    resolver.may_answer.set()


class Result:
    """How a connection that was asked for ended."""

    def __init__(self, connector: Connector, destination: Endpoint) -> None:
        self.what: list[Endpoint | DialFailure] = []
        self._ended = anyio.Event()
        self.connecting: Connecting = connector.connect(
            destination, Side.EXTERNAL, self._connected, self._failed, lambda: None
        )

    def _connected(self, leg: object, address: Endpoint) -> None:
        leg.close()  # type: ignore[attr-defined]
        self._end(address)

    def _failed(self, failure: DialFailure) -> None:
        self._end(failure)

    def _end(self, what: Endpoint | DialFailure) -> None:
        assert not self.what
        self.what.append(what)
        self._ended.set()

    async def get(self) -> Endpoint | DialFailure:
        with anyio.fail_after(DEADLINE_S):
            await self._ended.wait()
        return self.what[0]


def connector_of(engine: Engine, *overrides: ResolveOverride, timeout_s: float = DEADLINE_S) -> Connector:
    return Connector(engine, overrides=overrides, source=None, timeout_s=timeout_s)


async def test_a_name_is_looked_up_and_its_address_dialled_and_no_timer_stays(
    asked: Asked, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked.answers["a.test"] = ["127.0.0.1"]
    timers: list[Timer] = []
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        async with open_engine() as (engine, faults):
            call_later = engine.call_later

            def noting(delay_s: float, callback: Callable[[], None]) -> Timer:
                timers.append(call_later(delay_s, callback))
                return timers[-1]

            monkeypatch.setattr(engine, "call_later", noting)
            assert await Result(connector_of(engine), Endpoint("A.test", port)).get() == Endpoint("127.0.0.1", port)
            await anyio.lowlevel.checkpoint()
            assert {timer.take() for timer in timers} == {None}
    assert asked.names == ["a.test"]
    assert not faults


async def test_an_override_is_for_its_port_and_any_spelling_and_needs_no_resolver(asked: Asked) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        async with open_engine() as (engine, faults):
            connector = connector_of(engine, ResolveOverride("a.test", port, "127.0.0.1"))
            assert await Result(connector, Endpoint("A.TEST", port)).get() == Endpoint("127.0.0.1", port)
            assert asked.names == []
            failure = await Result(connector, Endpoint("a.test", port + 1)).get()
    assert failure == DialFailure(FailureKind.NOT_RESOLVED, "a.test")
    assert asked.names == ["a.test"]
    assert not faults


async def test_a_look_up_that_takes_too_long_is_a_timeout_that_names_the_host(asked: Asked) -> None:
    asked.may_answer.clear()
    async with open_engine() as (engine, faults):
        result = Result(connector_of(engine, timeout_s=0.02), Endpoint("slow.test", 80))
        assert await result.get() == DialFailure(FailureKind.TIMED_OUT, "slow.test was not resolved within 0.02 s")
        asked.may_answer.set()
        await anyio.sleep(0.02)
    assert len(result.what) == 1
    assert not faults


@pytest.mark.parametrize("turns", [0, 1, 3])
async def test_a_look_up_that_is_given_up_dials_nothing(turns: int, asked: Asked) -> None:
    asked.may_answer.clear()
    asked.answers["a.test"] = ["127.0.0.1"]
    async with open_engine() as (engine, faults):
        result = Result(connector_of(engine), Endpoint("a.test", 80))
        for _ in range(turns):
            await anyio.lowlevel.checkpoint()
        result.connecting.abandon()
        asked.may_answer.set()
        await anyio.sleep(0.02)
        assert not engine.unwatched
    assert result.what == []
    assert not faults


async def test_a_look_up_that_is_given_up_in_the_moment_it_ends_dials_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    results: list[Result] = []
    asked_for: list[str] = []

    async def look_up(destination: Endpoint, client: str) -> list[Address]:
        asked_for.append(client)
        results[0].connecting.abandon()
        return [address_of("127.0.0.1", destination.port)]

    async with open_engine() as (engine, faults):
        connector = connector_of(engine)
        monkeypatch.setattr(connector.resolver, "look_up", look_up)
        results.append(Result(connector, Endpoint("a.test", 80)))
        with anyio.fail_after(DEADLINE_S):
            while not asked_for:
                await anyio.lowlevel.checkpoint()
        assert results[0].connecting._dial is None
    assert results[0].what == []
    assert not faults


async def test_a_dial_has_the_time_the_source_and_the_addresses_that_it_is_given(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    dials: list[tuple[object, ...]] = []
    monkeypatch.setattr(
        "relay.net.connect.Dial",
        lambda engine, addresses, *, timeout_s, source, connected, failed: dials.append((addresses, timeout_s, source)),
    )
    async with open_engine() as (engine, _):
        connector = Connector(engine, overrides=(), source="127.0.0.7", timeout_s=30.0)
        addresses = [address_of("127.0.0.1", 80)]
        connector.dial(addresses, 7.0, lambda *_: None, lambda _: None)
    assert dials == [(addresses, 7.0, "127.0.0.7")]


async def test_a_dial_has_what_the_look_up_has_left_of_the_time(asked: Asked, monkeypatch: pytest.MonkeyPatch) -> None:
    asked.answers["a.test"] = ["127.0.0.1"]
    left: list[float] = []
    async with open_engine() as (engine, faults):
        connector = connector_of(engine)

        def dial(addresses: list[Address], timeout_s: float, *_: object) -> None:
            left.append(timeout_s)

        monkeypatch.setattr(connector, "dial", dial)
        Result(connector, Endpoint("a.test", 80))
        with anyio.fail_after(DEADLINE_S):
            while not left:  # noqa: ASYNC110 - the engine's own task dials
                await anyio.sleep(0.001)
        Result(connector, Endpoint("127.0.0.1", 80))
    assert 0 < left[0] < connector.timeout_s
    assert left[1] == connector.timeout_s
    assert not faults


async def test_a_failure_that_was_found_at_once_is_not_reported_after_abandon(asked: Asked) -> None:
    async with open_engine() as (engine, faults):
        connector = connector_of(engine)
        connector.own_addresses.add(Endpoint("127.0.0.1", 1080))
        told, untold = (Result(connector, Endpoint("127.0.0.1", 1080)) for _ in range(2))
        untold.connecting.abandon()
        assert await told.get() == DialFailure(FailureKind.DENIED, "127.0.0.1:1080 is this relay itself")
    assert untold.what == []
    assert not faults


async def test_a_socket_that_cannot_be_watched_is_a_want_of_room(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        target = Endpoint(*listener.getsockname()[:2])
        async with open_engine() as (engine, faults):
            watch = engine.watch

            def full(watched: Any) -> None:
                if isinstance(watched, KernelLeg):
                    raise OSError(errno.ENOSPC, "No space left on device")
                watch(watched)

            monkeypatch.setattr(engine, "watch", full)
            failure = await Result(connector_of(engine), target).get()
            assert not engine.unwatched
    assert failure == DialFailure(FailureKind.EXHAUSTED, f"{target} cannot be watched: No space left on device")
    assert not faults


async def test_a_question_is_answered_from_the_overrides_first_and_by_an_ipv4_address_if_there_is_one(
    asked: Asked,
) -> None:
    asked.answers.update({"both.test": ["::1", "192.0.2.7", "192.0.2.8"], "six.test": ["::1", "::2"]})
    async with open_engine() as (engine, _):
        connector = connector_of(engine)
        connector.resolve_as(ResolveOverride("ours.test", 80, "192.0.2.1"))
        connector.resolve_as(ResolveOverride("alias.test", 80, "six.test"))

        async def answer(host: str, *, reverse: bool = False) -> str | None:
            return await connector.answer(host, "client", reverse=reverse)

        assert await answer("OURS.test") == "192.0.2.1"
        assert await answer("127.1") == "127.0.0.1"
        assert asked.names == []
        assert await answer("both.test") == "192.0.2.7"
        assert await answer("six.test") == "::1"
        assert await answer("none.test") is None
        assert await answer("192.0.2.1", reverse=True) == "ours.test"
        assert await answer("192.0.2.9", reverse=True) == "192.0.2.9.test"


@pytest.mark.parametrize(
    ("listens", "target", "own"),
    [
        ("127.0.0.1", "127.0.0.1", True),
        ("127.0.0.1", "0.0.0.0", True),
        ("127.0.0.1", "::ffff:127.0.0.1", True),
        ("127.0.0.1", "::1", False),
        ("127.0.0.1", "127.0.0.2", False),
        ("0.0.0.0", "127.0.0.2", True),
        ("0.0.0.0", "192.0.2.1", False),
        ("::1", "::", True),
        ("::1", "0.0.0.0", False),
        ("a.test", "127.0.0.1", False),
        ("127.0.0.1", "a.test", False),
    ],
)
async def test_the_relay_knows_itself_under_every_name(listens: str, target: str, own: bool) -> None:
    async with open_engine() as (engine, _):
        connector = connector_of(engine)
        connector.own_addresses.add(Endpoint(listens, 1080))
        assert connector.is_own(Endpoint(target, 1080)) is own
        assert not connector.is_own(Endpoint(target, 1081))


def test_a_source_is_one_of_this_hosts_addresses() -> None:
    demand_own("127.0.0.3")
    with pytest.raises(ConfigError, match=r"--source: 192\.0\.2\.1 is not this host's") as raised:
        demand_own("192.0.2.1")
    assert raised.value.hint == "give one of this host's addresses"
