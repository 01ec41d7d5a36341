"""Which process holds the other end."""

from __future__ import annotations

import contextlib
import os
import socket
import threading
import time
from collections.abc import Callable

import pytest

from observe.conftest import Connect, Namespace, peer_process, reset
from relay.observe import Process, owner_of
from relay.observe.kernel import owner
from relay.observe.kernel.ends import Ends
from relay.observe.kernel.owner import Glimpse, process_with_socket
from relay.observe.kernel.sock_diag import PeerLookup
from support.capabilities import missing
from support.clients import connect_from


@pytest.fixture(autouse=True)
def _linux(require: Callable[..., None]) -> None:
    require("linux")


@pytest.mark.parametrize("address", ["127.0.0.1", "::1"])
def test_our_own_process_is_found_by_either_family(connect: Connect, address: str) -> None:
    _, accepted = connect(to=address)
    found = owner_of(accepted)
    assert found is not None
    with open("/proc/self/comm", encoding="ascii") as comm, open("/proc/self/stat", encoding="ascii") as stat:
        assert found == Process(int(stat.read().split()[0]), comm.read().strip())


@pytest.mark.system
def test_another_process_is_found_again_and_again() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener, peer_process() as peer:
        peer.tell(f"connect 127.0.0.1 {listener.getsockname()[1]}")
        accepted, _ = listener.accept()
        with accepted:
            expected = int(peer.tell("pid"))
            for _ in range(2):
                found = owner_of(accepted)
                assert found is not None
                assert found.pid == expected
                assert found.name.startswith("python")


@pytest.mark.system
def test_a_program_that_was_just_started_is_found_at_a_glimpse(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(owner, "_GLIMPSED_NEWEST", 4096)  # an interpreter takes its time, and others start meanwhile
    with socket.create_server(("127.0.0.1", 0)) as listener, contextlib.closing(Glimpse()) as glimpse:
        for _ in range(5):
            with peer_process() as peer:
                peer.tell(f"connect 127.0.0.1 {listener.getsockname()[1]}")
                accepted, _ = listener.accept()
                with accepted:
                    owner._recent.clear()
                    found = glimpse.owner_of(accepted)
                    assert found is not None
                    assert found == owner_of(accepted)
                    assert found.pid == int(peer.tell("pid"))


def test_a_glimpse_finds_whom_the_walk_has_found_and_a_process_not_its_thread(connect: Connect) -> None:
    _, accepted = connect()
    owner._recent.clear()
    walked = owner_of(accepted)
    assert walked is not None
    with contextlib.closing(Glimpse()) as glimpse:
        assert glimpse.owner_of(accepted) == walked
        begun = threading.Event()
        threading.Thread(target=begun.wait).start()  # its id is the newest
        owner._recent.clear()
        try:
            assert glimpse.owner_of(accepted) in {walked, None}
        finally:
            begun.set()


def test_a_glimpse_of_a_peer_that_is_closed_or_elsewhere_finds_no_process(connect: Connect) -> None:
    client, accepted = connect()
    client.close()
    with contextlib.closing(Glimpse()) as glimpse, socket.socket() as unconnected:
        assert glimpse.owner_of(accepted) is None
        assert glimpse.owner_of(unconnected) is None


def test_glimpses_take_a_share_of_the_time_and_no_more(connect: Connect, monkeypatch: pytest.MonkeyPatch) -> None:
    """However many connections come, and however long each look takes."""
    _, accepted = connect()
    now_s, asked = 100.0, 0

    def look(glimpse: Glimpse, sock: socket.socket) -> None:
        nonlocal now_s, asked
        asked += 1
        now_s += 0.002

    monkeypatch.setattr(Glimpse, "_look", look)
    monkeypatch.setattr(owner, "real_s", lambda: now_s)
    with contextlib.closing(Glimpse()) as glimpse:
        for _ in range(100):
            glimpse.owner_of(accepted)
        assert 10 <= asked <= 12, "20 ms at once"
        began_at, asked = now_s, 0
        for _ in range(1000):
            now_s += 0.001
            glimpse.owner_of(accepted)
        assert 0.09 < asked * 0.002 / (now_s - began_at) < 0.11, "then a tenth"
        now_s, asked = now_s + 3600.0, 0
        for _ in range(100):
            glimpse.owner_of(accepted)
        assert 10 <= asked <= 12, "and never more at once"


def test_a_process_with_many_descriptors_is_left_to_the_walk(connect: Connect) -> None:
    if not os.stat("/proc/self/fd").st_size:
        missing("the size of /proc/PID/fd, of Linux 6.2")
    client, accepted = connect()
    walked = owner_of(accepted)
    with contextlib.closing(Glimpse()) as glimpse, contextlib.ExitStack() as stack:
        owner._recent[:] = [os.getpid()]
        before = set(owner._first_descriptors(os.getpid()))
        for _ in range(70):
            stack.callback(os.close, os.dup(client.fileno()))
        assert before
        assert not set(owner._first_descriptors(os.getpid()))
        assert glimpse.owner_of(accepted) is None
        assert owner_of(accepted) == walked


def test_a_peer_that_closed_its_socket_has_no_owner(connect: Connect) -> None:
    client, accepted = connect()
    client.close()
    assert owner_of(accepted) is None


def test_the_next_connection_on_a_peers_port_is_not_taken_for_the_peer(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener, connect_from(0, listener.getsockname()) as client:

        def find_late(peers: PeerLookup, ends: Ends) -> int:
            reset(client)
            with connect_from(ends.peer[1], ends.local):
                found = peers.find(ends)
                assert found is not None
                return found.inode

        monkeypatch.setattr("relay.observe.kernel.owner._inode_of_peer", find_late)
        monkeypatch.setattr("relay.observe.kernel.owner.process_with_socket", lambda _: Process(1, "successor"))
        with listener.accept()[0] as accepted:
            assert owner_of(accepted) is None


def test_a_peer_that_accepts_in_a_moment_is_waited_for() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener, socket.create_connection(listener.getsockname()) as client:
        found: list[Process | None] = []
        lookup = threading.Thread(target=lambda: found.append(owner_of(client)))
        lookup.start()
        time.sleep(0.05)
        assert found == []
        accepted, _ = listener.accept()
        with accepted:
            lookup.join(60)
            assert [process and process.pid for process in found] == [os.getpid()]


def test_a_peer_that_is_not_accepted_is_given_up() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener, socket.create_connection(listener.getsockname()) as client:
        assert owner_of(client) is None


@pytest.mark.system
def test_a_remote_peer_has_no_owner_here(namespace: Namespace) -> None:
    with (
        socket.create_server((namespace.our_address, 0)) as listener,
        peer_process("ip", "netns", "exec", namespace.name) as peer,
    ):
        peer.tell(f"connect {namespace.our_address} {listener.getsockname()[1]}")
        accepted, _ = listener.accept()
        with accepted:
            assert owner_of(accepted) is None


def test_an_unconnected_socket_has_no_peer_to_own() -> None:
    with socket.socket() as sock:
        assert owner_of(sock) is None


def test_a_socket_that_no_process_holds_is_not_found() -> None:
    assert process_with_socket(2**40) is None
