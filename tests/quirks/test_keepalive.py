"""The keepalive trap: behind the NAT a server that fell silent long ago looks alive indefinitely.

The server is frozen, that is its kernel drops whatever comes for the connection and answers nothing, as a host does
whose cable was pulled. The client is the plain one that wants to notice: probes after a second of silence, one each
second, and three unanswered are the end.
"""

from __future__ import annotations

import contextlib
import errno
import itertools
import socket
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import pytest

from relay.observe.kernel.bpf import drop, program
from relay.testing import RunningRelay, serve_in_thread
from support.capabilities import missing, need_capture
from support.capture import Capture, Packet
from support.clients import connect
from support.origins import Origin

IDLE_S, INTERVAL_S, COUNT = 1, 1, 3
LIMIT_S = IDLE_S + INTERVAL_S * COUNT
HELD_S = 10 * LIMIT_S
FRONT_ENDS = ("forward", "socks5")
BACKENDS = ("asyncio", "trio")
PROFILES = ("vmware-workstation", "transparent")
Case = tuple[str, str, str]
_SO_ATTACH_FILTER = 26  # asm-generic/socket.h
_DROP_EVERYTHING = program(drop())


@dataclass(frozen=True)
class Held:
    """What became of one client."""

    error: int
    """The errno that its socket ended with, 0 while it is up."""
    after_s: float
    seen: int
    """Its probes on the wire."""
    logged: int
    """Its probes in the event log."""
    to_server: list[str]
    """What reached the server's port after it froze."""


def freeze(connection: socket.socket) -> None:
    connection.setsockopt(socket.SOL_SOCKET, _SO_ATTACH_FILTER, _DROP_EVERYTHING.fprog)


@contextlib.contextmanager
def frozen_server() -> Iterator[tuple[Origin, threading.Event]]:
    """An origin that says one word and freezes; the event is set when a connection to it has."""
    frozen, over = threading.Event(), threading.Event()

    def handle(connection: socket.socket) -> None:
        connection.sendall(b"hello")
        assert connection.recv(5) == b"hello"
        freeze(connection)
        frozen.set()
        assert over.wait(HELD_S * 2)

    with Origin(handle) as origin:
        try:
            yield origin, frozen
        finally:
            over.set()


def probes_among(packets: list[Packet], client_port: int) -> int:
    """How many segments from the client are keepalive probes: empty, and one below what it would send next."""
    count, next_seq = 0, -1
    for packet in packets:
        if packet.source_port != client_port:
            continue
        if packet.flags == "A" and not packet.data_bytes and packet.seq == (next_seq - 1) % (1 << 32):
            count += 1
        else:
            next_seq = (packet.seq + packet.data_bytes + ("S" in packet.flags)) % (1 << 32)
    return count


def hold(profile: str, front_end: str, backend: str) -> Held:
    """Be the client for `HELD_S`, or until its socket ends."""
    with (
        frozen_server() as (origin, frozen),
        serve_in_thread(profile, backend=backend) as nat,
        connect(nat, front_end, origin.host, origin.port) as sock,
    ):
        client_port, internal_port = sock.getsockname()[1], sock.getpeername()[1]
        with Capture(internal_port) as internal:
            assert sock.recv(5) == b"hello"
            sock.sendall(b"hello")
            assert frozen.wait(60)
            with Capture(origin.port) as external:
                began_s = time.monotonic()
                error = _probe_until(sock, HELD_S + INTERVAL_S / 2)  # amid two probes
                after_s = time.monotonic() - began_s
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 0)
            nat.wait_for("keepalive-probe", side="internal")
        seen = probes_among(internal.packets, client_port)
        return Held(error, after_s, seen, _logged(nat, seen), external.lines())


def _probe_until(sock: socket.socket, held_s: float) -> int:
    for name, value in ((socket.TCP_KEEPIDLE, IDLE_S), (socket.TCP_KEEPINTVL, INTERVAL_S), (socket.TCP_KEEPCNT, COUNT)):
        sock.setsockopt(socket.IPPROTO_TCP, name, value)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    sock.settimeout(held_s)
    try:
        assert sock.recv(1) == b"", "a frozen server has nothing to say"
    except TimeoutError as error:
        return error.errno or 0
    except OSError as error:
        return error.errno or -1
    return -1


def _logged(nat: RunningRelay, seen: int) -> int:
    """The probes in the event log, once there are so many; the relay looks for them twice a second."""
    deadline_s = time.monotonic() + 60
    while True:
        count = sum(record.event == "keepalive-probe" for record in nat.events)
        if count >= seen or time.monotonic() > deadline_s:
            return count
        time.sleep(0.05)  # a count cannot be waited on


@pytest.fixture(scope="module")
def held() -> dict[Case, Held]:
    """Every case, at the same time: each of them only waits."""
    need_capture()
    cases = list(itertools.product(PROFILES, FRONT_ENDS, BACKENDS))
    with ThreadPoolExecutor(len(cases)) as pool:
        return dict(zip(cases, pool.map(lambda case: hold(*case), cases), strict=True))


@pytest.mark.timeout(180)
def test_a_frozen_server_stays_alive_for_ten_times_the_clients_own_limit(held: dict[Case, Held]) -> None:
    behind_vmware = {case: each for case, each in held.items() if case[0] != "transparent"}
    assert {case: each.error for case, each in behind_vmware.items()} == dict.fromkeys(behind_vmware, 0)
    assert all(each.after_s >= HELD_S for each in behind_vmware.values())


def test_no_probe_reaches_the_server_and_each_is_in_the_event_log(held: dict[Case, Held]) -> None:
    for case, each in held.items():
        if case[0] != "transparent":
            assert each.seen >= HELD_S - IDLE_S - 2, case
            assert each.logged == each.seen, case
            assert each.to_server == [], case


def test_without_the_quirk_the_client_finds_the_server_dead_within_twice_its_limit(held: dict[Case, Held]) -> None:
    for case, each in held.items():
        if case[0] == "transparent":
            assert each.error in (errno.ETIMEDOUT, errno.ECONNRESET), (case, each)
            assert each.after_s <= 2 * LIMIT_S, (case, each)
            assert each.to_server != [], case  # it was asked


def test_the_server_is_not_probed_while_the_client_is(backend: str) -> None:
    """The same against a server that is well: its kernel would answer, and no probe reaches it."""
    need_capture()
    over = threading.Event()

    def idle(connection: socket.socket) -> None:
        assert over.wait(20)

    with (
        Origin(idle) as origin,
        serve_in_thread("vmware-workstation", backend=backend) as nat,
        connect(nat, "socks5", origin.host, origin.port) as sock,
        Capture(origin.port) as external,
    ):
        assert _probe_until(sock, 3.5) == 0
        nat.wait_for("keepalive-probe", side="internal")
        assert external.lines() == []
        over.set()


def test_no_note_says_that_a_dead_server_has_answered(backend: str) -> None:
    """Not under `transparent` either: there the relay's kernel answers before the server is known to be dead."""
    if sys.platform != "linux":
        missing("probes are seen on Linux alone")
    with (
        frozen_server() as (origin, frozen),
        serve_in_thread("transparent", backend=backend) as nat,
        connect(nat, "socks5", origin.host, origin.port) as sock,
    ):
        sock.sendall(b"hello")
        assert frozen.wait(60)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, IDLE_S)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        text = nat.wait_for("note", because="local-keepalive", timeout_s=20).fields["text"]
        assert "answered by the relay's kernel" in text
        assert "does not know yet whether it answers" in text
