"""A socket is on record from the moment it is opened, and a fork waits meanwhile: a child then closes its copy."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable
from typing import Any, cast

import anyio
import pytest

from relay.address import Endpoint
from relay.loop import forks
from relay.loop.engine import Engine
from relay.net.association import Association
from relay.net.connect import Connector
from relay.net.dial import Dial
from relay.net.listen import Listener, open_listener, reserve_address
from relay.net.mapping import ServerLeg
from relay.net.resolve import address_of
from support.bench import DEADLINE_S, open_engine

pytestmark = pytest.mark.anyio

ANY_PORT = Endpoint("127.0.0.1", 0)


@pytest.fixture
def waits(monkeypatch: pytest.MonkeyPatch) -> list[bool]:
    """Whether a fork would have waited, for each socket that was opened."""
    opened: list[bool] = []
    thread = threading.get_ident()

    class Opened(socket.socket):
        def __init__(self, *arguments: Any, **options: Any) -> None:
            super().__init__(*arguments, **options)
            if threading.get_ident() == thread:
                opened.append(cast("Any", forks.held)._is_owned())

    monkeypatch.setattr(socket, "socket", Opened)
    return opened


class Control:
    """A client's connection."""

    local = peer = ANY_PORT


def associate(engine: Engine) -> Association:
    return Association(engine, cast("Any", Control()), lambda *_: None, lambda _: None, port=0)


def map_datagrams(engine: Engine) -> ServerLeg:
    connector = Connector(engine, overrides=(), source=None, timeout_s=DEADLINE_S)
    leg = ServerLeg(engine, connector, lambda _: "", lambda _: None, client="")
    leg.open(socket.AF_INET)
    return leg


@pytest.mark.parametrize("begin", [associate, map_datagrams])
async def test_a_fork_waits_while_a_socket_for_datagrams_is_opened(
    begin: Callable[[Engine], Any], waits: list[bool]
) -> None:
    async with open_engine() as (engine, _):
        waits.clear()
        begin(engine).close()
    assert waits == [True]


@pytest.mark.parametrize("shared", [False, True])
def test_a_fork_waits_while_a_listener_is_opened_and_a_child_closes_it(shared: bool, waits: list[bool]) -> None:
    with open_listener(ANY_PORT, where="--listen", shared=shared) as listener:
        assert listener in forks._ours
    assert waits == [True]


def test_a_fork_waits_while_an_address_is_reserved_and_a_child_closes_what_holds_it(waits: list[bool]) -> None:
    with reserve_address(ANY_PORT, where="--listen") as holder:
        assert holder in forks._ours
    assert waits == [True, True]


async def test_both_ends_of_a_connection_are_on_record_before_they_have_a_leg(waits: list[bool]) -> None:
    on_record: list[set[Any]] = []
    done = [anyio.Event(), anyio.Event()]
    async with open_engine() as (engine, faults):
        listener = open_listener(ANY_PORT, where="--listen")
        waits.clear()

        def take(sock: socket.socket, which: anyio.Event) -> None:
            on_record.append(engine.unwatched & {sock})
            sock.close()
            which.set()

        accepting = Listener(engine, listener, lambda sock: take(sock, done[0]), print, print)
        Dial(
            engine,
            [address_of(*accepting.address)],
            timeout_s=DEADLINE_S,
            source=None,
            connected=lambda sock, _: take(sock, done[1]),
            failed=print,
        )
        with anyio.fail_after(DEADLINE_S):
            for each in done:
                await each.wait()
        accepting.close()
        assert not engine.unwatched
    assert [len(each) for each in on_record] == [1, 1]
    assert waits == [True, True]
    assert not faults
