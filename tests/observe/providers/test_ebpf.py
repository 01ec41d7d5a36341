"""What the provider `ebpf` promises beyond what every provider does."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator

import pytest

from observe.conftest import REPOSITORY, Connect, EpollHost, Namespace, peer_process, readable, reset, set_tos
from observe.watched import PRECEDENCE, QUIET_S, Watched
from relay.observe import save_syn
from relay.observe.kernel import ebpf
from relay.observe.kernel.ring import RING_BYTES, Ring
from relay.observe.kernel.tos_programs import withholding_program
from relay.observe.providers.ebpf import EbpfProvider

pytestmark = pytest.mark.system

RECORD_BYTES = 40  # 8 of header, then 25, rounded up to 8


@pytest.fixture
def provider(host: EpollHost, require: Callable[..., None]) -> Iterator[EbpfProvider]:
    require("linux", "cap_bpf", "cap_net_admin")
    it = EbpfProvider(host)
    yield it
    it.close()


@pytest.mark.parametrize("side", ["accepted", "dialled"])
@pytest.mark.parametrize(("syn", "mask", "tos"), [(0, PRECEDENCE, 0x48), (0x48, PRECEDENCE, 0x10), (0, 0xFC, 0x10)])
def test_a_byte_that_is_set_and_set_back_is_seen_by_its_segment(
    provider: EbpfProvider, host: EpollHost, connect: Connect, *, syn: int, mask: int, tos: int, side: str
) -> None:
    client, accepted = connect(syn)
    sender, receiver = (client, accepted) if side == "accepted" else (accepted, client)
    set_tos(sender, syn)
    receiver.setblocking(False)
    watched = Watched(provider, host, receiver, syn, mask, accepted=side == "accepted")
    set_tos(sender, tos)
    sender.send(b"x")
    set_tos(sender, syn)
    assert host.run_until(lambda: bool(watched.seen), QUIET_S)
    assert watched.seen == [tos]


def test_any_number_of_marked_flows_are_reported_at_once(
    provider: EbpfProvider, host: EpollHost, connect: Connect
) -> None:
    pairs = [connect(0x48) for _ in range(100)]
    flows = [Watched(provider, host, accepted, 0x48, PRECEDENCE) for _, accepted in pairs]
    for client, _ in pairs:
        set_tos(client, 0)
        client.send(b"x")
    assert host.run_until(lambda: all(flow.seen for flow in flows), QUIET_S)
    assert {tuple(flow.seen) for flow in flows} == {(0,)}


def test_a_remote_peer_that_was_early_is_remembered_from_the_first_connection_on(
    namespace: Namespace, provider: EbpfProvider, host: EpollHost
) -> None:
    with (
        socket.create_server((namespace.our_address, 0)) as listener,
        peer_process("ip", "netns", "exec", namespace.name) as peer,
    ):
        listener.settimeout(60)
        save_syn(listener)
        provider.cover(listener, PRECEDENCE)
        peer.tell(f"connect {namespace.our_address} {listener.getsockname()[1]}")
        peer.tell("tos 0x48")
        peer.tell("send early")
        early, _ = listener.accept()
        with early:
            early.setblocking(False)
            host.run_for(QUIET_S)
            assert readable(early) == b"early"
            watched = Watched(provider, host, early, 0, PRECEDENCE)
            assert host.run_until(lambda: bool(watched.seen))
            assert watched.seen == [0x48]


def test_of_an_early_segment_the_reference_is_its_own_syn(
    provider: EbpfProvider, host: EpollHost, connect: Connect
) -> None:
    client, accepted = connect(0x48, covered_by=provider)
    client.send(b"same")
    host.run_for(QUIET_S)
    watched = Watched(provider, host, accepted, 0x48, PRECEDENCE)
    assert not host.run_until(watched.offended, QUIET_S)
    assert watched.received == b"same"


def test_connections_that_wait_to_be_accepted_have_each_its_own_syn(provider: EbpfProvider, host: EpollHost) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener, socket.socket() as marked, socket.socket() as plain:
        provider.cover(listener, PRECEDENCE)
        set_tos(marked, 0x48)
        for client in (marked, plain):
            client.connect(listener.getsockname())
        for client in (marked, plain):
            client.send(b"x")
        set_tos(plain, 0x10)
        plain.send(b"y")
        host.run_for(QUIET_S)
        assert early(provider) == []


def test_a_port_that_is_used_again_has_another_syn(provider: EbpfProvider, host: EpollHost) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        provider.cover(listener, PRECEDENCE)
        port = 0
        for tos in (0x48, 0):
            with socket.socket() as client:
                client.bind(("127.0.0.1", port))
                port = client.getsockname()[1]
                set_tos(client, tos)
                client.connect(listener.getsockname())
                accepted, _ = listener.accept()
                with accepted:
                    client.send(b"x")
                    accepted.recv(1)
                    reset(client)
        host.run_for(QUIET_S)
        assert early(provider) == []


def test_a_reset_before_the_attachment_is_no_offence(provider: EbpfProvider, host: EpollHost, connect: Connect) -> None:
    client, _ = connect(covered_by=provider)
    set_tos(client, 0x48)
    reset(client)
    host.run_for(QUIET_S)
    assert early(provider) == []


def test_ipv6_passes_a_covered_listener_untold(provider: EbpfProvider, host: EpollHost, connect: Connect) -> None:
    client, accepted = connect(to="::1", covered_by=provider)
    client.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_TCLASS, 0x48)
    client.send(b"x")
    assert host.run_until(lambda: readable(accepted) == b"x")
    assert early(provider) == []


def test_what_is_kept_of_connections_that_are_not_watched_is_bounded(provider: EbpfProvider) -> None:
    keys = [number.to_bytes(16) for number in range(1, 2000)]
    for key in keys:
        provider._sort(key + bytes(8) + b"\x48")
    assert list(provider._early) == keys[-1024:]


def test_a_watch_that_is_closed_is_forgotten_and_fills_nothing(
    provider: EbpfProvider, host: EpollHost, connect: Connect
) -> None:
    client, accepted = connect()
    Watched(provider, host, accepted, 0, PRECEDENCE).watch.close()
    assert provider._watches == {}
    set_tos(client, 0x48)
    client.send(b"x")
    host.run_for(QUIET_S)
    assert early(provider) == []


def test_listeners_alike_share_a_program_and_old_ones_are_given_back(provider: EbpfProvider) -> None:
    with socket.create_server(("127.0.0.1", 0)) as one, socket.create_server(("127.0.0.1", 0)) as other:
        for mask in (PRECEDENCE, 0xFC, PRECEDENCE):
            for listener in (one, other, one):
                provider.cover(listener, mask)
            assert list(provider._listening) == [mask]
            assert list(provider._programs) == [(0, mask)]


def test_a_listener_that_is_covered_no_more_tells_nothing(
    provider: EbpfProvider, host: EpollHost, connect: Connect
) -> None:
    connect(covered_by=provider)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        provider.cover(listener, PRECEDENCE)
        provider.cover(listener, 0)
        provider.cover(listener, 0)
        with socket.create_connection(listener.getsockname()) as client:
            accepted, _ = listener.accept()
            with accepted:
                set_tos(client, 0x48)
                client.send(b"x")
                host.run_for(QUIET_S)
                assert early(provider) == []


def early(provider: EbpfProvider) -> list[int]:
    """The bytes reported of connections that are not watched yet."""
    return [tos for _, tos, _ in provider._early.values()]


@pytest.mark.parametrize("drained", [True, False])
def test_a_ring_goes_round_and_round_and_what_does_not_fit_is_lost(
    provider: EbpfProvider, host: EpollHost, connect: Connect, *, drained: bool
) -> None:
    client, accepted = connect(covered_by=provider)
    set_tos(client, 0x48)
    for sent in range(2 * RING_BYTES // RECORD_BYTES):
        client.send(b"x")
        accepted.recv(1)
        if drained and not sent % 100:
            host.run_for(0.001)
    client.setsockopt(socket.IPPROTO_IP, socket.IP_TOS, 0x68)
    if not drained:
        client.send(b"y")  # the ring is full
        host.run_until(lambda: bool(provider._early))
        assert early(provider) == [0x48]
    client.send(b"z")
    assert host.run_until(lambda: early(provider) == [0x68])


def test_nothing_stays_open_when_the_provider_is_closed(
    host: EpollHost, connect: Connect, require: Callable[..., None]
) -> None:
    require("linux", "cap_bpf", "cap_net_admin")
    client, accepted = connect()
    before = len(os.listdir("/proc/self/fd"))
    provider = EbpfProvider(host)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        provider.cover(listener, PRECEDENCE)
        watched = Watched(provider, host, accepted, 0, PRECEDENCE)
        provider.close()
        provider.close()
    assert len(os.listdir("/proc/self/fd")) == before
    set_tos(client, 0x48)
    client.send(b"x")
    host.run_for(QUIET_S)
    assert readable(accepted) == b""  # what is withheld stays so
    assert watched.seen == []
    assert host.pending == 0


def test_a_program_is_loaded_once_for_all_flows_alike(
    provider: EbpfProvider, host: EpollHost, connect: Connect
) -> None:
    for syn in (0, 0x10, 0x48, 0x50):
        _, accepted = connect(syn)
        Watched(provider, host, accepted, syn, PRECEDENCE)
    assert sorted(provider._programs) == [(0, PRECEDENCE), (0x40, PRECEDENCE)]


def test_a_jump_to_nowhere_is_not_assembled() -> None:
    with pytest.raises(KeyError):
        ebpf.assemble(ebpf.if_equal(ebpf.R0, 0, "nowhere"))


def test_a_program_that_the_kernel_cannot_verify_is_refused(require: Callable[..., None]) -> None:
    require("linux", "cap_bpf")
    with pytest.raises(OSError, match=r"bpf\(2\)"):
        ebpf.load_filter(ebpf.assemble(ebpf.copy(ebpf.R0, ebpf.R2), *ebpf.leave(0)[1:]))


def test_what_is_withheld_counts_for_its_own_socket_alone(require: Callable[..., None], connect: Connect) -> None:
    """The record has the cookie and the byte as `cookie_of` and the segment have them."""
    require("linux", "cap_bpf", "cap_net_admin")
    ring = Ring()
    descriptor = ebpf.load_filter(withholding_program(0, PRECEDENCE, ring.fileno()))
    (client, accepted), (_, other) = connect(), connect()
    for sock in (accepted, other):
        ebpf.attach(sock, descriptor)
    os.close(descriptor)
    set_tos(client, 0xB8)
    client.send(b"x")
    assert list(ring.take()) == [bytes(16) + ebpf.cookie_of(accepted) + b"\xb8"]
    assert ebpf.cookie_of(other) != ebpf.cookie_of(accepted)
    ring.close()


WITHOUT_BPF = """
from relay.observe import survey
from relay.abilities import KINDS, Ability, Want
found = survey().support[Want(Ability.TOS)]
print(found.provider, found.fidelity.value)
try:
    survey("ebpf")
except Exception as refusal:
    print(refusal, "|", refusal.hint)
"""


def test_without_cap_bpf_the_socket_filter_takes_its_place(require: Callable[..., None]) -> None:
    require("linux", "root", "setpriv", "cap_net_admin", "cap_net_raw")
    less = "-bpf,-sys_admin"
    command = ["setpriv", f"--bounding-set={less}", f"--inh-caps={less}", sys.executable, "-c", WITHOUT_BPF]
    done = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    chosen, refusal = done.stdout.splitlines()
    assert chosen == "socket-filter exact"
    assert "CAP_BPF is missing" in refusal
    assert "cap-add BPF --cap-add NET_ADMIN" in refusal
    assert "sudo" not in refusal


def test_cap_bpf_alone_is_enough_to_see_and_to_withhold(require: Callable[..., None]) -> None:
    require("linux", "root", "setpriv", "cap_bpf")
    command = ["setpriv", "--bounding-set=-all,+bpf", "--inh-caps=-all", sys.executable, "-c", WITHOUT_BPF]
    done = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, check=False)
    assert done.stdout == "ebpf exact\n", done.stderr
