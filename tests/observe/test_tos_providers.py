"""One conformance suite for whatever sees TOS changes; then what each provider promises beyond it."""

from __future__ import annotations

import socket
import subprocess
import sys
from collections.abc import Callable, Iterator

import pytest

from observe.conftest import (
    REPOSITORY,
    Connect,
    EpollHost,
    Namespace,
    Peer,
    peer_process,
    readable,
    reset,
    set_tos,
)
from relay.observe import TosProvider, TosWatch
from relay.observe.bpf import drop, program
from relay.observe.sock_diag import SockDiagProvider
from relay.observe.socket_filter import SocketFilterProvider
from relay.observe.wake import MAX_EXCEPTIONS

PRECEDENCE = 0xE0
SO_ATTACH_FILTER = 26
QUIET_S = 0.05  # longer than any provider takes to tell, shorter than a retransmission

Seen = list[int | None]


class Watched:
    """A socket under watch, read and written as the driver does: asking before each read and after each write."""

    def __init__(self, provider: TosProvider, host: EpollHost, sock: socket.socket, syn_tos: int, mask: int) -> None:
        self.seen: Seen = []
        self.received = b""
        self._host = host
        self._sock = sock
        watch = provider.attach(sock, syn_tos=syn_tos, mask=mask, changed=self.seen.append)
        assert watch is not None
        self.watch: TosWatch = watch
        self._differs: Callable[[int | None], bool] = lambda tos: tos is None or bool((tos ^ syn_tos) & mask)

    @property
    def offences(self) -> Seen:
        return [tos for tos in self.seen if self._differs(tos)]

    def read(self) -> None:
        if readable(self._sock):
            self._ask()
            if not self.offences:
                self.received += self._sock.recv(65536)

    def write(self, data: bytes) -> None:
        self._sock.send(data)
        self._ask()

    def offended(self) -> bool:
        self.read()
        return bool(self.offences)

    def _ask(self) -> None:
        if self.watch.asks:
            tos = self.watch.ask()
            if tos is not None:
                self.seen.append(tos)


FACTORIES: dict[str, Callable[[EpollHost], TosProvider]] = {
    "socket-filter": SocketFilterProvider,
    "socket-filter, polling": lambda host: SocketFilterProvider(host, use_packets=False),
    "sock-diag": SockDiagProvider,
}


@pytest.fixture(params=FACTORIES)
def provider(request: pytest.FixtureRequest, host: EpollHost, require: Callable[..., None]) -> Iterator[TosProvider]:
    require("linux")
    if request.param != "sock-diag":
        require("cap_net_admin", "cap_net_raw")
    it = FACTORIES[request.param](host)
    yield it
    it.close()


@pytest.fixture
def socket_filter(host: EpollHost, require: Callable[..., None]) -> Iterator[SocketFilterProvider]:
    require("linux", "cap_net_admin", "cap_net_raw")
    it = SocketFilterProvider(host)
    yield it
    it.close()


@pytest.fixture
def polling(host: EpollHost, require: Callable[..., None]) -> Iterator[SocketFilterProvider]:
    require("linux", "cap_net_admin")
    it = SocketFilterProvider(host, use_packets=False)
    yield it
    it.close()


@pytest.mark.parametrize("tos", [0x08, 0x10, 0x18])
def test_a_change_within_the_same_precedence_is_no_offence(
    provider: TosProvider, host: EpollHost, connect: Connect, tos: int
) -> None:
    client, accepted = connect()
    watched = Watched(provider, host, accepted, 0, PRECEDENCE)
    set_tos(client, tos)
    client.send(b"harmless")
    assert not host.run_until(watched.offended, QUIET_S)
    assert watched.received == b"harmless"


@pytest.mark.parametrize("tos", [0x20, 0x28, 0x48, 0x68, 0x80, 0xB8, 0xE0])
def test_another_precedence_is_reported_with_its_byte(
    provider: TosProvider, host: EpollHost, connect: Connect, tos: int
) -> None:
    client, accepted = connect()
    watched = Watched(provider, host, accepted, 0, PRECEDENCE)
    set_tos(client, tos)
    client.send(b"offending")
    assert host.run_until(watched.offended)
    assert watched.seen == [tos]
    assert watched.received == b""


def test_the_reference_is_the_syn_not_zero(provider: TosProvider, host: EpollHost, connect: Connect) -> None:
    client, accepted = connect(0x48)
    watched = Watched(provider, host, accepted, 0x48, PRECEDENCE)
    for tos in (0x48, 0x50):
        set_tos(client, tos)
        client.send(b"x")
    assert not host.run_until(watched.offended, QUIET_S)
    assert watched.received == b"xx"
    set_tos(client, 0x10)
    client.send(b"y")
    assert host.run_until(watched.offended)
    assert watched.offences == [0x10]
    assert watched.received == b"xx"


def test_an_offence_is_reported_once(provider: TosProvider, host: EpollHost, connect: Connect) -> None:
    client, accepted = connect()
    watched = Watched(provider, host, accepted, 0, PRECEDENCE)
    set_tos(client, 0x48)
    client.send(b"x")
    assert host.run_until(watched.offended)
    client.send(b"y")
    assert not host.run_until(lambda: watched.offended() and len(watched.seen) > 1, 0.5)


def test_the_mask_is_the_flows_own(provider: TosProvider, host: EpollHost, connect: Connect) -> None:
    (client, accepted), (other_client, other_accepted) = connect(), connect()
    any_dscp = Watched(provider, host, accepted, 0, 0xFC)
    precedence = Watched(provider, host, other_accepted, 0, PRECEDENCE)
    for one in (client, other_client):
        set_tos(one, 0x10)
        one.send(b"x")
    assert host.run_until(any_dscp.offended)
    assert any_dscp.seen == [0x10]
    assert not host.run_until(precedence.offended, QUIET_S)
    assert precedence.received == b"x"


def test_only_the_flow_that_changed_is_reported(provider: TosProvider, host: EpollHost, connect: Connect) -> None:
    pairs = [connect() for _ in range(5)]
    flows = [Watched(provider, host, accepted, 0, PRECEDENCE) for _, accepted in pairs]
    set_tos(pairs[2][0], 0x48)
    for client, _ in pairs:
        client.send(b"x")
    assert host.run_until(flows[2].offended)
    for flow in flows:
        flow.read()
    assert [bool(flow.offences) for flow in flows] == [False, False, True, False, False]
    assert [flow.received for flow in flows] == [b"x", b"x", b"", b"x", b"x"]


def test_a_client_that_only_receives_is_seen_by_its_acks(
    provider: TosProvider, host: EpollHost, connect: Connect
) -> None:
    client, accepted = connect()
    watched = Watched(provider, host, accepted, 0, PRECEDENCE)
    set_tos(client, 0x48)
    watched.write(b"data from the server")
    assert client.recv(100)
    assert host.run_until(watched.offended)
    assert watched.seen == [0x48]


def test_a_closed_watch_reports_nothing(provider: TosProvider, host: EpollHost, connect: Connect) -> None:
    client, accepted = connect()
    watched = Watched(provider, host, accepted, 0, PRECEDENCE)
    watched.watch.close()
    set_tos(client, 0x48)
    client.send(b"x")
    assert not host.run_until(lambda: bool(watched.seen), QUIET_S)
    watched.watch.close()


def test_an_ipv6_peer_is_not_watched(provider: TosProvider, connect: Connect) -> None:
    _, accepted = connect(to="::1")
    assert provider.attach(accepted, syn_tos=0, mask=PRECEDENCE, changed=lambda _: None) is None


def test_ipv4_on_a_dual_stack_listener_is_ipv4(provider: TosProvider, host: EpollHost, connect: Connect) -> None:
    client, accepted = connect(to="127.0.0.1", bound_to="::")
    assert accepted.family == socket.AF_INET6
    watched = Watched(provider, host, accepted, 0, PRECEDENCE)
    set_tos(client, 0x48)
    client.send(b"x")
    assert host.run_until(watched.offended)
    assert watched.seen == [0x48]


def test_a_dialled_socket_is_watched_as_well(provider: TosProvider, host: EpollHost, connect: Connect) -> None:
    client, accepted = connect()
    client.setblocking(False)
    watched = Watched(provider, host, client, 0, PRECEDENCE)
    set_tos(accepted, 0x48)
    accepted.send(b"x")
    assert host.run_until(watched.offended)
    assert watched.seen == [0x48]


def test_a_change_before_the_attachment_is_reported(provider: TosProvider, host: EpollHost, connect: Connect) -> None:
    client, accepted = connect()
    set_tos(client, 0x48)
    client.send(b"early")
    assert host.run_until(lambda: bool(readable(accepted)))
    watched = Watched(provider, host, accepted, 0, PRECEDENCE)
    assert watched.seen == []  # never from within attach
    assert host.run_until(watched.offended)
    assert watched.seen == [0x48]


def test_an_unconnected_socket_is_not_watched(provider: TosProvider) -> None:
    with socket.socket() as sock:
        assert provider.attach(sock, syn_tos=0, mask=PRECEDENCE, changed=lambda _: None) is None


def test_a_socket_that_was_closed_first_does_no_harm(provider: TosProvider, host: EpollHost, connect: Connect) -> None:
    client, accepted = connect()
    watched = Watched(provider, host, accepted, 0, PRECEDENCE)
    accepted.close()
    host.run_for(0.15)
    watched.watch.release()
    watched.watch.close()
    client.close()


@pytest.fixture(params=["packets", "polling"])
def withholding(request: pytest.FixtureRequest) -> SocketFilterProvider:
    it: SocketFilterProvider = request.getfixturevalue(
        {"packets": "socket_filter", "polling": "polling"}[request.param]
    )
    return it


def test_what_is_withheld_is_not_readable_until_it_is_released(
    withholding: SocketFilterProvider, host: EpollHost, connect: Connect
) -> None:
    client, accepted = connect()
    watched = Watched(withholding, host, accepted, 0, PRECEDENCE)
    set_tos(client, 0x48)
    client.send(b"withheld")
    assert host.run_until(lambda: bool(watched.seen))
    host.run_for(0.3)  # a retransmission is withheld as well
    assert readable(accepted) == b""
    watched.watch.release()
    assert host.run_until(lambda: readable(accepted) == b"withheld")


def test_what_is_withheld_stays_so_when_the_watch_is_closed(
    withholding: SocketFilterProvider, host: EpollHost, connect: Connect
) -> None:
    client, accepted = connect()
    watched = Watched(withholding, host, accepted, 0, PRECEDENCE)
    set_tos(client, 0x48)
    client.send(b"withheld")
    assert host.run_until(lambda: bool(watched.seen))
    watched.watch.close()
    host.run_for(0.3)
    assert readable(accepted) == b""
    reset(accepted)
    with pytest.raises(ConnectionResetError):
        client.recv(1)


def test_a_fin_is_withheld_and_reported_but_an_rst_passes(
    withholding: SocketFilterProvider, host: EpollHost, connect: Connect
) -> None:
    (client, accepted), (other_client, other_accepted) = connect(), connect()
    watched = Watched(withholding, host, accepted, 0, PRECEDENCE)
    other = Watched(withholding, host, other_accepted, 0, PRECEDENCE)
    set_tos(client, 0x48)
    client.shutdown(socket.SHUT_WR)
    assert host.run_until(lambda: bool(watched.seen))
    with pytest.raises(BlockingIOError):
        accepted.recv(1)
    set_tos(other_client, 0x48)
    reset(other_client)
    host.run_for(QUIET_S)
    with pytest.raises(ConnectionResetError):
        other_accepted.recv(1)
    assert other.seen == []


def test_keepalive_probes_are_no_offence_though_the_kernel_counts_them_as_drops(
    polling: SocketFilterProvider, host: EpollHost, connect: Connect
) -> None:
    client, accepted = connect()
    watched = Watched(polling, host, accepted, 0, PRECEDENCE)
    client.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    client.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, 1)
    host.run_for(1.3)
    assert watched.seen == []
    set_tos(client, 0x48)
    client.send(b"x")
    assert host.run_until(watched.offended)


def test_an_idle_flow_is_polled_as_well(polling: SocketFilterProvider, host: EpollHost, connect: Connect) -> None:
    client, accepted = connect()
    watched = Watched(polling, host, accepted, 0, PRECEDENCE)
    host.run_for(1.2)
    set_tos(client, 0x48)
    client.send(b"x")
    assert host.run_until(lambda: bool(watched.seen))
    assert watched.seen == [0x48]


def test_a_byte_that_is_set_and_set_back_is_reported_without_its_value_by_polling(
    polling: SocketFilterProvider, host: EpollHost, connect: Connect
) -> None:
    client, accepted = connect()
    watched = Watched(polling, host, accepted, 0, PRECEDENCE)
    set_tos(client, 0x48)
    client.send(b"x")
    set_tos(client, 0)
    assert host.run_until(lambda: bool(watched.seen))
    assert watched.seen == [None]


@pytest.mark.parametrize("side", ["accepted", "dialled"])
@pytest.mark.parametrize(("syn", "mask", "tos"), [(0, PRECEDENCE, 0x48), (0x48, PRECEDENCE, 0x10), (0, 0xFC, 0x10)])
def test_a_byte_that_is_set_and_set_back_is_seen_by_its_packet(
    socket_filter: SocketFilterProvider, host: EpollHost, connect: Connect, *, syn: int, mask: int, tos: int, side: str
) -> None:
    client, accepted = connect()
    known = Watched(socket_filter, host, accepted, 0, PRECEDENCE)  # what the program must be changed for comes second
    client, accepted = connect(syn)
    sender, receiver = (client, accepted) if side == "accepted" else (accepted, client)
    set_tos(sender, syn)
    receiver.setblocking(False)
    watched = Watched(socket_filter, host, receiver, syn, mask)
    host.run_for(QUIET_S)
    set_tos(sender, tos)
    sender.send(b"x")
    set_tos(sender, syn)
    assert host.run_until(lambda: bool(watched.seen))
    assert watched.seen == [tos]
    assert known.seen == []


def test_a_poll_does_not_overtake_the_packet_that_tells_more(
    socket_filter: SocketFilterProvider, connect: Connect
) -> None:
    client, accepted = connect()
    seen: Seen = []
    watch = socket_filter.attach(accepted, syn_tos=0, mask=PRECEDENCE, changed=seen.append)
    assert watch is not None
    set_tos(client, 0x48)
    client.send(b"x")
    set_tos(client, 0)
    watch.rose(certain=True)
    assert seen == [0x48]


def test_a_flow_hears_only_of_the_bits_of_its_own_mask(
    socket_filter: SocketFilterProvider, host: EpollHost, connect: Connect
) -> None:
    (client, accepted), (_, other) = connect(), connect()
    precedence = Watched(socket_filter, host, accepted, 0, PRECEDENCE)
    Watched(socket_filter, host, other, 0, 0xFC)
    set_tos(client, 0x10)
    client.send(b"x")
    host.run_for(QUIET_S)
    assert precedence.seen == []


def test_more_marked_flows_than_the_program_holds_are_watched_all_the_same(
    socket_filter: SocketFilterProvider, host: EpollHost, connect: Connect
) -> None:
    pairs = [connect(0x48) for _ in range(MAX_EXCEPTIONS + 3)]
    flows = [Watched(socket_filter, host, accepted, 0x48, PRECEDENCE) for _, accepted in pairs]
    assert [flow.watch.asks for flow in flows] == [False] * MAX_EXCEPTIONS + [True] * 3
    for client, _ in pairs:
        set_tos(client, 0)
        client.send(b"x")
    assert host.run_until(lambda: all(flow.seen for flow in flows))
    assert {tuple(flow.seen) for flow in flows} == {(0,)}
    for flow in flows:
        flow.watch.close()
    client, accepted = connect(0x48)
    assert not Watched(socket_filter, host, accepted, 0x48, PRECEDENCE).watch.asks


def test_packets_of_other_ports_and_flows_wake_nobody_up(
    socket_filter: SocketFilterProvider, host: EpollHost, connect: Connect
) -> None:
    _, accepted = connect()
    watched = Watched(socket_filter, host, accepted, 0, PRECEDENCE)
    stranger, _ = connect(0x48, to="127.0.0.2")
    stranger.send(b"x")
    assert not host.run_until(watched.offended, QUIET_S)


def test_nothing_is_due_any_more_when_the_provider_is_closed(host: EpollHost, connect: Connect) -> None:
    provider = SocketFilterProvider(host)
    _, accepted = connect()
    assert provider.attach(accepted, syn_tos=0, mask=PRECEDENCE, changed=lambda _: None) is not None
    assert host.pending
    provider.close()
    assert host.pending == 0


@pytest.fixture
def remote(namespace: Namespace) -> Iterator[tuple[Namespace, Peer, socket.socket]]:
    """A peer at the other end of a cable, and the socket that accepted it."""
    with socket.create_server((namespace.our_address, 0)) as listener:
        listener.settimeout(5)
        with peer_process("ip", "netns", "exec", namespace.name) as peer:
            peer.tell(f"connect {namespace.our_address} {listener.getsockname()[1]}")
            accepted, _ = listener.accept()
            with accepted:
                accepted.setblocking(False)
                yield namespace, peer, accepted


Remote = tuple[Namespace, Peer, socket.socket]


def test_a_remote_peer_is_watched_by_its_packets(
    remote: Remote, socket_filter: SocketFilterProvider, host: EpollHost
) -> None:
    _, peer, accepted = remote
    watched = Watched(socket_filter, host, accepted, 0, PRECEDENCE)
    peer.tell("tos 0x10")
    peer.tell("send a")
    assert host.run_until(lambda: bool(readable(accepted)))
    watched.read()
    peer.tell("tos 0x48")
    peer.tell("send b")
    assert host.run_until(watched.offended)
    assert (watched.seen, watched.received) == ([0x48], b"a")
    assert not watched.watch.asks


def test_a_remote_peer_polled_is_reported_without_its_byte(
    remote: Remote, polling: SocketFilterProvider, host: EpollHost
) -> None:
    _, peer, accepted = remote
    watched = Watched(polling, host, accepted, 0, PRECEDENCE)
    peer.tell("tos 0x48")
    peer.tell("send b")
    assert host.run_until(watched.offended)
    assert (watched.seen, watched.received) == ([None], b"")


def test_a_remote_peer_that_was_early_is_remembered(
    namespace: Namespace, socket_filter: SocketFilterProvider, host: EpollHost
) -> None:
    with (
        socket.create_server((namespace.our_address, 0)) as listener,
        peer_process("ip", "netns", "exec", namespace.name) as first,
        peer_process("ip", "netns", "exec", namespace.name) as second,
    ):
        listener.settimeout(5)
        address = f"{namespace.our_address} {listener.getsockname()[1]}"
        first.tell(f"connect {address}")
        known, _ = listener.accept()
        with known:
            Watched(socket_filter, host, known, 0, PRECEDENCE)
            second.tell(f"connect {address}")
            second.tell("tos 0x48")
            second.tell("send early")
            early, _ = listener.accept()
            with early:
                early.setblocking(False)
                host.run_for(QUIET_S)
                assert readable(early) == b"early"
                watched = Watched(socket_filter, host, early, 0, PRECEDENCE)
                assert host.run_until(lambda: bool(watched.seen))
                assert watched.seen == [0x48]


def test_sock_diag_does_not_watch_a_remote_peer(remote: Remote, host: EpollHost) -> None:
    _, _, accepted = remote
    provider = SockDiagProvider(host)
    assert provider.attach(accepted, syn_tos=0, mask=PRECEDENCE, changed=lambda _: None) is None
    provider.close()


def test_a_drop_that_no_packet_told_of_is_found_by_the_guard(
    socket_filter: SocketFilterProvider, host: EpollHost, connect: Connect
) -> None:
    client, accepted = connect()
    watched = Watched(socket_filter, host, accepted, 0, PRECEDENCE)
    assert socket_filter._wake is not None
    blind = program(drop())
    socket_filter._wake._socket.setsockopt(socket.SOL_SOCKET, SO_ATTACH_FILTER, blind.fprog)
    set_tos(client, 0x48)
    client.send(b"x")
    assert host.run_until(lambda: bool(watched.seen))
    assert watched.seen == [0x48]


WITHOUT_PACKETS = """
from relay.observe import survey
from relay.events import Fact
from relay.observe.socket_filter import SocketFilterProvider
from relay.observe.self_test import tos_self_test
assert tos_self_test(SocketFilterProvider) is None
print(survey().support[Fact.TOS].how)
"""


def test_without_cap_net_raw_the_filter_works_by_polling_and_says_so(require: Callable[..., None]) -> None:
    require("linux", "root", "setpriv", "cap_net_admin")
    command = ["setpriv", "--bounding-set=-net_raw", "--inh-caps=-net_raw", sys.executable, "-c", WITHOUT_PACKETS]
    done = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "polling" in done.stdout
