"""The lookup of a peer's own socket: what it finds, what it must not take for it, and who may use it."""

from __future__ import annotations

import socket
import subprocess
import sys
from collections.abc import Callable, Iterator

import pytest

from observe.conftest import REPOSITORY, Connect, EpollHost, Remote, set_tos
from observe.watched import PRECEDENCE
from relay.observe import Target
from relay.observe.kernel.ends import ends_of
from relay.observe.kernel.sock_diag import SockDiag
from relay.observe.providers.sock_diag import SockDiagProvider


@pytest.fixture
def diag(require: Callable[..., None]) -> Iterator[SockDiag]:
    require("linux")
    it = SockDiag()
    yield it
    it.close()


@pytest.mark.parametrize(("to", "bound_to"), [("127.0.0.1", "127.0.0.1"), ("127.0.0.1", "::"), ("::1", "::1")])
def test_the_peer_is_found_by_the_accepted_sockets_addresses(
    diag: SockDiag, connect: Connect, to: str, bound_to: str
) -> None:
    client, accepted = connect(to=to, bound_to=bound_to)
    ends = ends_of(accepted)
    assert ends is not None
    assert ends.peer == client.getsockname()[:2]
    assert diag.query(ends.peer, ends.local) is not None


def test_an_ipv4_peer_on_an_ipv6_socket_is_found(diag: SockDiag) -> None:
    with (
        socket.create_server(("127.0.0.1", 0)) as listener,
        socket.socket(socket.AF_INET6) as client,
    ):
        client.connect(("::ffff:127.0.0.1", listener.getsockname()[1]))
        accepted, _ = listener.accept()
        with accepted:
            set_tos(client, 0x48)
            ends = ends_of(accepted)
            assert ends is not None
            found = diag.query(ends.peer, ends.local)
            assert found is not None
            assert found.tos == 0x48


def test_no_socket_is_found_for_an_address_elsewhere(diag: SockDiag, connect: Connect) -> None:
    _, accepted = connect()
    assert diag.query(("203.0.113.5", 40000), accepted.getsockname()) is None


def test_a_local_listener_is_not_taken_for_a_remote_peer_of_the_same_port(diag: SockDiag) -> None:
    with socket.create_server(("0.0.0.0", 0)) as listener:
        port = listener.getsockname()[1]
        assert diag.query(("203.0.113.5", port), ("127.0.0.1", 40000)) is None


def test_a_connection_in_time_wait_is_not_found(diag: SockDiag, connect: Connect) -> None:
    client, accepted = connect()
    ends = ends_of(accepted)
    assert ends is not None
    accepted.close()
    client.close()
    assert diag.query(ends.local, ends.peer) is None


@pytest.mark.system
def test_sock_diag_does_not_watch_a_remote_peer(remote: Remote, host: EpollHost) -> None:
    _, _, accepted = remote
    provider = SockDiagProvider(host)
    assert provider.attach(Target(accepted, 0, PRECEDENCE)) is None
    provider.close()


AS_ORDINARY_USER = """
import errno, os, socket
from relay.abilities import KINDS, Ability, Want
from relay.observe import survey
from relay.observe.kernel.ends import ends_of
from relay.observe.kernel.sock_diag import SockDiag
from relay.observe.providers.sock_diag import SockDiagProvider
from relay.observe.providers.socket_filter import PolledSocketFilterProvider, SocketFilterProvider
from relay.observe.providers.tcp_info import TcpInfoProvider
from relay.observe.kernel.syn import save_syn, syn_of
os.setgroups([])
os.setgid(65534)
os.setuid(65534)
assert SockDiagProvider.self_test() is None
assert TcpInfoProvider.self_test() is None
assert SocketFilterProvider.self_test().errno == errno.EPERM
assert PolledSocketFilterProvider.self_test().errno == errno.EPERM
with socket.create_server(("127.0.0.1", 0)) as listener, socket.socket() as client:
    assert save_syn(listener)
    client.setsockopt(socket.IPPROTO_IP, socket.IP_TOS, 0x48)
    client.connect(listener.getsockname())
    accepted, _ = listener.accept()
    with accepted:
        assert syn_of(accepted).tos == 0x48
        ends = ends_of(accepted)
        diag = SockDiag()
        found = diag.query(ends.peer, ends.local)
        diag.close()
        assert (found.tos, found.uid) == (0x48, 65534), found
for fact in (Want(Ability.TOS), Want(Ability.KEEPALIVE), Want(Ability.BLACKHOLE)):
    support = survey().support[fact]
    print(support.provider, support.fidelity.value, bool(support.remedy))
"""


@pytest.mark.system
def test_without_privilege_the_byte_and_the_probes_are_seen_but_nothing_is_withheld(
    require: Callable[..., None],
) -> None:
    require("linux", "root")
    command = [sys.executable, "-c", AS_ORDINARY_USER]
    done = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == [
        "sock-diag approximate True",
        "tcp-info exact False",
        "kernel sockets approximate True",
    ]
