"""Addresses that listeners share: the kernel spreads connections over them, and no other process gets in."""

from __future__ import annotations

import contextlib
import errno
import socket
import sys
from collections.abc import Iterator
from typing import NoReturn

import pytest

from relay.address import Endpoint
from relay.errors import ConfigError
from relay.net.listen import demand_address, open_listener, reserve_address
from support.capabilities import missing
from support.namespaces import in_own_network


@pytest.fixture(autouse=True)
def _linux() -> None:
    if sys.platform != "linux":
        missing("only Linux spreads connections over listeners")


@pytest.fixture(params=["127.0.0.1", "::1"])
def held(request: pytest.FixtureRequest) -> Iterator[Endpoint]:
    """An address that is reserved."""
    with reserve_address(Endpoint(request.param, 0), where="--listen") as holder:
        yield Endpoint(*holder.getsockname()[:2])


def can_be_reserved(address: Endpoint) -> bool:
    try:
        reserve_address(address, where="--listen").close()
    except ConfigError as error:
        if "address already in use" not in str(error):
            raise
        return False
    return True


def accepted(listener: socket.socket) -> int:
    """How many connections wait to be accepted."""
    count = 0
    with contextlib.suppress(BlockingIOError):
        while True:
            listener.accept()[0].close()
            count += 1
    return count


def test_who_reserves_an_address_is_given_no_connection(held: Endpoint) -> None:
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(held, timeout=60)


def test_connections_are_spread_over_the_listeners_that_share(held: Endpoint) -> None:
    with (
        contextlib.ExitStack() as stack,
        open_listener(held, where="--listen", shared=True) as first,
        open_listener(held, where="--listen", shared=True) as second,
    ):
        for _ in range(100):
            stack.enter_context(socket.create_connection(held, timeout=60))
        counts = (accepted(first), accepted(second))
        assert sum(counts) == 100
        assert min(counts) > 10


@pytest.mark.parametrize("listening", [False, True])
def test_a_reserved_address_is_in_use_for_everybody_else(listening: bool, held: Endpoint) -> None:
    with contextlib.ExitStack() as stack:
        if listening:
            stack.enter_context(open_listener(held, where="--listen", shared=True))
        assert not can_be_reserved(held)
        with pytest.raises(ConfigError, match="address already in use"):
            open_listener(held, where="--listen")


@pytest.mark.parametrize("shared", [False, True])
@pytest.mark.parametrize("everywhere", [False, True])
def test_an_address_that_somebody_listens_on_cannot_be_reserved(shared: bool, everywhere: bool) -> None:
    bind = Endpoint("0.0.0.0" if everywhere else "127.0.0.1", 0)
    with open_listener(bind, where="--listen", shared=shared) as listener:
        address = Endpoint("127.0.0.1", listener.getsockname()[1])
        assert not can_be_reserved(address)
    assert can_be_reserved(address)


@pytest.mark.parametrize("shared", [False, True])
def test_connections_of_the_past_are_no_obstacle(shared: bool) -> None:
    with open_listener(Endpoint("127.0.0.1", 0), where="--listen", shared=shared) as listener:
        address = Endpoint(*listener.getsockname()[:2])
        with socket.create_connection(address, timeout=60) as client:
            connection, _ = listener.accept()
            connection.close()  # first, so that TIME_WAIT is on this side
            assert client.recv(1) == b""
    assert can_be_reserved(address)


@pytest.mark.parametrize(
    ("error", "reason", "hint"),
    [
        (PermissionError(errno.EACCES, "denied"), "permission denied", "ports below 1024 need a privilege"),
        (socket.gaierror(socket.EAI_NONAME, "unknown"), "no such address", "give an address of this host"),
        (UnicodeError("label too long"), "no such address", "give an address of this host"),
        (OSError(errno.EADDRINUSE, "in use"), "address already in use", "another program listens there"),
    ],
)
def test_an_address_that_cannot_be_had_is_named_with_the_reason(
    error: Exception, reason: str, hint: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object, **__: object) -> NoReturn:
        raise error

    monkeypatch.setattr(socket, "getaddrinfo", fail)
    for take in (open_listener, reserve_address, demand_address):
        with pytest.raises(ConfigError, match=f"--listen: cannot listen on a.test:80: {reason}") as raised:
            take(Endpoint("a.test", 80), where="--listen")
        assert raised.value.hint.startswith(hint)


@pytest.mark.system
def test_a_reserved_ipv6_address_leaves_ipv4_alone() -> None:
    def reserve_and_listen() -> None:
        with (
            reserve_address(Endpoint("::", 1080), where="--listen"),
            open_listener(Endpoint("0.0.0.0", 1080), where="--listen"),
        ):
            pass

    in_own_network(reserve_and_listen)  # elsewhere any connection of somebody's may have that port on IPv4
