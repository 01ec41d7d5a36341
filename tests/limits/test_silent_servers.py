"""Behind a NAT that hides nothing, servers that fall silent are found dead by as many apps as there are.

Each app probes as one does that wants to know soon: after a second, once a second. The servers fall silent when some
apps have probed and others have not yet, in either way: their kernels drop whatever comes, or the relay's external side
is frozen.
"""

from __future__ import annotations

import contextlib
import errno
import itertools
import os
import selectors
import socket
import time
from collections import Counter
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import pytest

from relay.observe.kernel.bpf import drop, program
from relay.testing import RunningRelay, serve_in_thread
from support.capabilities import need_root
from support.masses import all_descriptors

SOAK = bool(os.environ.get("RELAY_SOAK"))
FLOWS = 2000 if SOAK else 100
IDLE_S, INTERVAL_S, COUNT = 1, 1, 4
LIMIT_S = IDLE_S + INTERVAL_S * COUNT
_SO_ATTACH_FILTER = 26  # asm-generic/socket.h
_DROP_EVERYTHING = program(drop())
Silence = Callable[[RunningRelay, list[socket.socket]], None]


def mute(_: RunningRelay, servers: list[socket.socket]) -> None:
    """Have the servers' kernels drop whatever comes."""
    for server in servers:
        server.setsockopt(socket.SOL_SOCKET, _SO_ATTACH_FILTER, _DROP_EVERYTHING.fprog)


def freeze(nat: RunningRelay, _: list[socket.socket]) -> None:
    nat.freeze("external")


CASES: list[tuple[Silence, str]] = list(itertools.product((mute, freeze), ("asyncio", "trio")))


@dataclass(frozen=True)
class Ended:
    """What became of the apps: the errno that each ended with, and when the last one did, in seconds of silence."""

    errors: Counter[int]
    last_s: float


def probe(app: socket.socket) -> None:
    for name, value in ((socket.TCP_KEEPIDLE, IDLE_S), (socket.TCP_KEEPINTVL, INTERVAL_S), (socket.TCP_KEEPCNT, COUNT)):
        app.setsockopt(socket.IPPROTO_TCP, name, value)
    app.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)


def await_ends(apps: Iterable[socket.socket], until_s: float) -> Counter[int]:
    """Wait until all have ended, or that moment; the errno of each that has."""
    errors: Counter[int] = Counter()
    with selectors.DefaultSelector() as selector:
        for app in apps:
            selector.register(app, selectors.EVENT_READ)
        while selector.get_map() and (left_s := until_s - time.monotonic()) > 0:
            for key, _ in selector.select(left_s):
                selector.unregister(key.fileobj)
                assert isinstance(key.fileobj, socket.socket)
                errors[key.fileobj.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)] += 1
    return errors


def fall_silent(how: Silence, backend: str) -> Ended:
    with (
        socket.create_server(("127.0.0.1", 0), backlog=1024) as listener,
        serve_in_thread("transparent", backend=backend) as nat,
        contextlib.ExitStack() as stack,
    ):
        forward = nat.forward(*listener.getsockname())
        apps, servers = [], []
        for _ in range(FLOWS):
            apps.append(stack.enter_context(socket.create_connection(forward)))
            servers.append(stack.enter_context(listener.accept()[0]))
            probe(apps[-1])
        nat.wait_for("keepalive-probe")
        how(nat, servers)
        began_s = time.monotonic()
        return Ended(await_ends(apps, began_s + 2 * LIMIT_S), time.monotonic() - began_s)


@pytest.fixture(scope="module")
def ended() -> dict[tuple[str, str], Ended]:
    """Every case; at the same time, unless the crowds are large."""
    need_root()
    with all_descriptors(), ThreadPoolExecutor(1 if SOAK else len(CASES)) as pool:
        names = [(how.__name__, backend) for how, backend in CASES]
        return dict(zip(names, pool.map(lambda case: fall_silent(*case), CASES), strict=True))


@pytest.mark.soak
@pytest.mark.timeout(300)
def test_every_app_finds_its_server_dead_within_twice_its_own_limit(ended: dict[tuple[str, str], Ended]) -> None:
    found = {case: each.errors for case, each in ended.items()}
    assert found == {case: Counter({errno.ETIMEDOUT: FLOWS}) for case in ended}, ended
