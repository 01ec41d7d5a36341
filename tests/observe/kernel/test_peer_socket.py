"""What the kernel tells of a peer's own socket: what it has yet to send, and when it probes."""

from __future__ import annotations

import contextlib
import os
import socket
import time
from collections.abc import Callable, Iterator
from ipaddress import ip_address

import pytest

from observe.conftest import Connect
from relay.legs import PeerSocket
from relay.observe.kernel.ends import ends_of
from relay.observe.kernel.peer_socket import PeerSockets
from relay.wire.ends import Ends
from relay.wire.namespace.owners import NamespaceOwners

_NETLINK_SOCK_DIAG = 4  # linux/netlink.h


@pytest.fixture(autouse=True)
def _linux(require: Callable[..., None]) -> None:
    require("linux")


@pytest.fixture
def peers() -> Iterator[PeerSockets]:
    with contextlib.closing(PeerSockets()) as peers:
        yield peers


def look(peers: PeerSockets, accepted: socket.socket) -> PeerSocket:
    found = peers.look(ends_of(accepted))
    assert found is not None
    return found


def set_keepalive(sock: socket.socket, idle_s: int, interval_s: int) -> None:
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, idle_s)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, interval_s)


@pytest.mark.parametrize("address", ["127.0.0.1", "::1"])
@pytest.mark.parametrize(("interval_s", "every_s"), [(5, 60), (90, 90)])
def test_a_socket_of_this_process_is_known_by_its_options(
    connect: Connect, peers: PeerSockets, address: str, interval_s: int, every_s: int
) -> None:
    client, accepted = connect(to=address)
    assert look(peers, accepted) == PeerSocket(0, None, None)
    set_keepalive(client, 60, interval_s)
    found = look(peers, accepted)
    assert found.probe_in_s == pytest.approx(60, abs=2)
    assert found.probes_every_s == every_s


def test_looking_at_a_socket_leaves_it_as_it_is(
    connect: Connect, peers: PeerSockets, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With a default timeout an object that is made of a descriptor makes the socket itself not block."""
    client, accepted = connect(to="127.0.0.1")
    client.setblocking(True)
    set_keepalive(client, 60, 5)
    socket.setdefaulttimeout(5)
    try:
        found = look(peers, accepted)
    finally:
        socket.setdefaulttimeout(None)
    assert os.get_blocking(client.fileno())
    assert found.probe_in_s == pytest.approx(60, abs=2), "the kernel's timer is known all the same"
    assert found.probes_every_s is None
    assert look(peers, accepted).probes_every_s == 60
    assert os.get_blocking(client.fileno())


def test_a_descriptor_that_is_another_sockets_by_now_is_not_taken_for_it(connect: Connect, peers: PeerSockets) -> None:
    client, accepted = connect(to="127.0.0.1")
    other, _ = connect(to="127.0.0.1")
    set_keepalive(client, 60, 5)
    look(peers, accepted)
    peers._own = dict.fromkeys(peers._own, other.fileno())
    found = look(peers, accepted)
    assert found.probe_in_s == pytest.approx(60, abs=2)
    assert found.probes_every_s is None


def test_a_process_with_many_descriptors_is_not_gone_through_for_each_look(
    connect: Connect, peers: PeerSockets, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, accepted = connect(to="127.0.0.1")
    times: list[None] = []

    def slow() -> dict[int, int]:
        times.append(None)
        time.sleep(0.02)  # thousands of descriptors take as long
        return {}

    monkeypatch.setattr("relay.observe.kernel.peer_socket._own_sockets", slow)
    for _ in range(50):
        look(peers, accepted)
    assert len(times) < 5


def test_what_a_peer_has_yet_to_send_is_counted(connect: Connect, peers: PeerSockets) -> None:
    client, accepted = connect(to="127.0.0.1")
    client.setblocking(False)
    sent = 0
    with contextlib.suppress(BlockingIOError):
        while True:
            sent += client.send(bytes(1 << 20))
    assert 0 < look(peers, accepted).unsent_bytes < sent
    accepted.settimeout(60)
    while sent:
        sent -= len(accepted.recv(1 << 20))
    assert look(peers, accepted).unsent_bytes == 0


def test_a_peer_that_is_gone_is_not_found(connect: Connect, peers: PeerSockets) -> None:
    client, accepted = connect(to="127.0.0.1")
    ends = ends_of(accepted)
    client.close()
    accepted.recv(1)
    accepted.close()
    assert peers.look(ends) is None
    assert peers.look(None) is None


def test_of_a_guests_socket_the_timer_is_known(connect: Connect) -> None:
    client, _ = connect(to="127.0.0.1")
    set_keepalive(client, 60, 5)
    (guest, guest_port), (host, port) = client.getsockname(), client.getpeername()
    ends = Ends(int(ip_address(guest)), guest_port, int(ip_address(host)), port)
    diagnosis = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, _NETLINK_SOCK_DIAG)
    with contextlib.closing(NamespaceOwners(diagnosis, os.getpid())) as owners:
        found = owners.look(ends)
        assert found is not None
        assert found.probe_in_s == pytest.approx(60, abs=2)
        assert (found.unsent_bytes, found.probes_every_s) == (0, None)
        assert owners.look(ends._replace(guest_port=1)) is None
