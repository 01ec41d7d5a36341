"""What the provider `socket-filter` promises beyond what every provider does."""

from __future__ import annotations

import contextlib
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator

import pytest

from observe.conftest import REPOSITORY, Connect, EpollHost, Namespace, Remote, peer_process, readable, set_tos
from observe.watched import PRECEDENCE, QUIET_S, Calls, Seen, Watched
from relay.observe import Target, save_syn
from relay.observe.kernel.bpf import drop, program
from relay.observe.kernel.wake import MAX_EXCEPTIONS
from relay.observe.providers.socket_filter import PolledSocketFilterProvider, SocketFilterProvider
from relay.testing import serve_in_thread
from support.origins import Origin, echo, read_exactly, read_until_over

pytestmark = pytest.mark.system

SO_ATTACH_FILTER = 26


@pytest.fixture
def socket_filter(host: EpollHost, require: Callable[..., None]) -> Iterator[SocketFilterProvider]:
    require("linux", "cap_net_admin", "cap_net_raw")
    it = SocketFilterProvider(host)
    yield it
    it.close()


@pytest.fixture
def polling(host: EpollHost, require: Callable[..., None]) -> Iterator[SocketFilterProvider]:
    require("linux", "cap_net_admin")
    it = PolledSocketFilterProvider(host)
    yield it
    it.close()


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
    watched = Watched(socket_filter, host, receiver, syn, mask, accepted=side == "accepted")
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
    watch = socket_filter.attach(Target(accepted, 0, PRECEDENCE, Calls(seen.append)))
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


def test_packets_of_other_ports_and_flows_wake_no_thread(
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
    assert provider.attach(Target(accepted, 0, PRECEDENCE)) is not None
    assert host.pending
    provider.close()
    assert host.pending == 0


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
        listener.settimeout(60)
        save_syn(listener)
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


def test_a_drop_without_a_packet_is_found_by_the_guard(
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
from relay.abilities import KINDS, Ability, Want
from relay.observe.providers.socket_filter import PolledSocketFilterProvider
assert PolledSocketFilterProvider.self_test() is None
print(survey("socket-filter").support[Want(Ability.TOS)].how)
"""


def test_without_cap_net_raw_the_filter_works_by_polling_and_says_so(require: Callable[..., None]) -> None:
    require("linux", "root", "setpriv", "cap_net_admin")
    command = ["setpriv", "--bounding-set=-net_raw", "--inh-caps=-net_raw", sys.executable, "-c", WITHOUT_PACKETS]
    done = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "polling" in done.stdout


def test_a_change_that_no_behaviour_minds_does_not_let_the_next_one_through(
    backend: str, require: Callable[..., None]
) -> None:
    require("linux", "cap_net_admin", "cap_net_raw")
    with (
        Origin(echo) as origin,
        serve_in_thread(backend=backend, observer="socket-filter") as nat,
        contextlib.ExitStack() as stack,
    ):
        forward = nat.forward("127.0.0.1", origin.port)

        def call() -> socket.socket:
            app = stack.enter_context(socket.socket())
            app.settimeout(60)
            set_tos(app, 0x20)
            app.connect((forward.host, forward.port))
            return app

        def exchange(app: socket.socket) -> None:
            app.sendall(b"x")
            assert read_exactly(app, 1) == b"x"

        for app in [call() for _ in range(MAX_EXCEPTIONS + 1)]:
            exchange(app)  # the last one is watched by asking, and so sees every bit
        set_tos(app, 0x30)
        exchange(app)
        set_tos(app, 0x48)
        app.sendall(b"offence")
        set_tos(app, 0x30)
        assert read_until_over(app) == (b"", "rst")
        assert nat.wait_for("flow-ended", because="tos-reset").fields["bytes_out"] == 2
