"""Profiles beside the real programs: the same app and server find the same habits on both.

Each real NAT is looked at once, all at the same time. What a profile does not take over from its NAT is listed with the
reason.
"""

from __future__ import annotations

import socket
import tempfile
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from relay.testing import RunningRelay, serve_in_thread
from support import real_nats
from support.clients import Refused, connect
from support.habits import Way, of_half_closes, of_idle_limit, of_resets, refusal
from support.namespaces import in_own_network
from support.ports import free_port

Nat = Callable[[Path, int, int], AbstractContextManager[Way]]
Habits = Mapping[str, str]

pytestmark = pytest.mark.system


IDLE_S = 2
NO_CHANCE: Mapping[str, Mapping[str, object]] = {"stray_reset": {"share": 0}, "slow_dial": {"syn_share": 0}}


@dataclass(frozen=True)
class Real:
    """A real program, and the profile that is to be like it."""

    nat: Nat
    profile: str
    front_end: str
    """How the relay is reached; a proxy's clients connect to it and say nothing, so there it is a forward."""
    idle_s: int = 0
    """Its idle limit here, if it has one: seconds in the place of minutes."""
    writer: str = "app"
    """Who sends after that, where it is of interest."""
    apart: Mapping[str, str] = field(default_factory=dict)
    """The habits that the profile does not have, and what this version of the program does in their place."""


REAL: Mapping[str, Real] = {
    "HAProxy": Real(
        lambda folder, server, nothing: real_nats.haproxy(folder, server, nothing, IDLE_S),
        "haproxy",
        "forward",
        idle_s=IDLE_S,
    ),
    "nginx stream": Real(
        lambda folder, server, nothing: real_nats.nginx_stream(folder, server, nothing, IDLE_S),
        "nginx-stream",
        "forward",
        idle_s=IDLE_S,
    ),
    "docker-proxy": Real(
        lambda _, server, nothing: real_nats.docker_proxy(server, nothing), "docker-published-port", "forward"
    ),
    "slirp4netns": Real(lambda _, server, nothing: real_nats.slirp4netns(server, nothing), "slirp", "socks5"),
    "nf_conntrack that forgets": Real(
        lambda _, server, nothing: real_nats.masquerade(
            server, nothing, {"established": IDLE_S, "unacknowledged": IDLE_S}
        ),
        "kubernetes",
        "socks5",
        idle_s=IDLE_S,
        writer="server",
    ),
    "nf_conntrack": Real(lambda _, server, nothing: real_nats.masquerade(server, nothing), "transparent", "socks5"),
}


@pytest.mark.parametrize("name", REAL)
def test_a_profile_has_the_habits_of_the_real_program(backend: str, name: str) -> None:
    real = REAL[name]
    with ExitStack() as stack:
        listener = stack.enter_context(listening("127.0.0.1"))
        nothing = free_port()
        short: Mapping[str, Any] = (
            {"idle_timeout": {"after_s": real.idle_s, "half_closed_s": 0}, **NO_CHANCE} if real.idle_s else {}
        )
        nat = stack.enter_context(serve_in_thread(real.profile, backend=backend, **short))
        ours = habits(real, by_relay(nat, real.front_end, listener, nothing), listener)
    theirs = habits_of_real()[name]
    assert {habit: said for habit, said in theirs.items() if habit in real.apart} == real.apart
    expected = {habit: said for habit, said in theirs.items() if habit not in real.apart}
    assert {habit: said for habit, said in ours.items() if habit in expected} == expected


def habits(real: Real, way: Way, listener: socket.socket) -> Habits:
    return {
        "refusal": refusal(way),
        **of_resets(way, listener),
        **of_half_closes(way, listener),
        **(of_idle_limit(way, listener, real.idle_s, writer=real.writer) if real.idle_s else {}),
    }


@cache
def habits_of_real() -> Mapping[str, Habits]:
    def look(name: str) -> Habits:
        with tempfile.TemporaryDirectory() as folder, listening("0.0.0.0") as listener:
            server, nothing = listener.getsockname()[1], free_port()
            with REAL[name].nat(Path(folder), server, nothing) as way:
                return habits(REAL[name], way, listener)

    with ThreadPoolExecutor(len(REAL)) as threads:
        return dict(zip(REAL, threads.map(lambda name: in_own_network(lambda: look(name)), REAL), strict=True))


def listening(host: str) -> socket.socket:
    return socket.create_server((host, 0))


def by_relay(nat: RunningRelay, front_end: str, listener: socket.socket, nothing: int) -> Way:
    def to(port: int) -> socket.socket:
        try:
            return connect(nat, front_end, "127.0.0.1", port)
        except Refused as refused:
            raise ConnectionRefusedError(refused.code) from None

    return Way(lambda: to(listener.getsockname()[1]), lambda: to(nothing))
