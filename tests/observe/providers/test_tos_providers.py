"""One conformance suite for whatever sees TOS changes."""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Callable, Iterator

import pytest

from observe.conftest import Connect, EpollHost, Remote, readable, reset, set_tos
from observe.watched import PRECEDENCE, QUIET_S, Calls, Watched
from relay.observe import Provider, Target, save_syn, syn_of
from relay.observe.providers.ebpf import EbpfProvider
from relay.observe.providers.sock_diag import SockDiagProvider
from relay.observe.providers.socket_filter import PolledSocketFilterProvider, SocketFilterProvider
from support.clients import connect_from

pytestmark = pytest.mark.system

_WITHHOLDING: dict[str, Callable[[EpollHost], Provider]] = {
    "ebpf": EbpfProvider,
    "socket-filter": SocketFilterProvider,
    "socket-filter, polling": PolledSocketFilterProvider,
}
_NEEDS = {
    "ebpf": ("cap_bpf", "cap_net_admin"),
    "socket-filter": ("cap_net_admin", "cap_net_raw"),
    "socket-filter, polling": ("cap_net_admin",),
    "sock-diag": (),
}
_ALL = _WITHHOLDING | {"sock-diag": SockDiagProvider}


@pytest.fixture(params=_ALL)
def provider(request: pytest.FixtureRequest, host: EpollHost, require: Callable[..., None]) -> Iterator[Provider]:
    require("linux", *_NEEDS[request.param])
    it = _ALL[request.param](host)
    yield it
    it.close()


@pytest.fixture(params=_WITHHOLDING)
def withholding(request: pytest.FixtureRequest, host: EpollHost, require: Callable[..., None]) -> Iterator[Provider]:
    require("linux", *_NEEDS[request.param])
    it = _WITHHOLDING[request.param](host)
    yield it
    it.close()


@pytest.mark.parametrize("tos", [0x08, 0x10, 0x18])
def test_a_change_within_the_same_precedence_is_no_offence(
    provider: Provider, host: EpollHost, connect: Connect, tos: int
) -> None:
    client, accepted = connect()
    watched = Watched(provider, host, accepted, 0, PRECEDENCE)
    set_tos(client, tos)
    client.send(b"harmless")
    assert not host.run_until(watched.offended, QUIET_S)
    assert watched.received == b"harmless"


@pytest.mark.parametrize("tos", [0x20, 0x28, 0x48, 0x68, 0x80, 0xB8, 0xE0])
def test_another_precedence_is_reported_with_its_byte(
    provider: Provider, host: EpollHost, connect: Connect, tos: int
) -> None:
    client, accepted = connect()
    watched = Watched(provider, host, accepted, 0, PRECEDENCE)
    set_tos(client, tos)
    client.send(b"offending")
    assert host.run_until(watched.offended)
    assert watched.seen == [tos]
    assert watched.received == b""


def test_the_reference_is_the_syn_not_zero(provider: Provider, host: EpollHost, connect: Connect) -> None:
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


def test_an_offence_is_reported_once(provider: Provider, host: EpollHost, connect: Connect) -> None:
    client, accepted = connect()
    watched = Watched(provider, host, accepted, 0, PRECEDENCE)
    set_tos(client, 0x48)
    client.send(b"x")
    assert host.run_until(watched.offended)
    client.send(b"y")
    assert not host.run_until(lambda: watched.offended() and len(watched.seen) > 1, 0.5)


def test_the_mask_is_the_flows_own(provider: Provider, host: EpollHost, connect: Connect) -> None:
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


def test_only_the_flow_that_changed_is_reported(provider: Provider, host: EpollHost, connect: Connect) -> None:
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


def test_a_client_that_only_receives_is_seen_by_its_acks(provider: Provider, host: EpollHost, connect: Connect) -> None:
    client, accepted = connect()
    watched = Watched(provider, host, accepted, 0, PRECEDENCE)
    set_tos(client, 0x48)
    watched.write(b"data from the server")
    assert client.recv(100)
    assert host.run_until(watched.offended)
    assert watched.seen == [0x48]


def test_a_closed_watch_reports_nothing(provider: Provider, host: EpollHost, connect: Connect) -> None:
    client, accepted = connect()
    watched = Watched(provider, host, accepted, 0, PRECEDENCE)
    watched.watch.close()
    set_tos(client, 0x48)
    client.send(b"x")
    assert not host.run_until(lambda: bool(watched.seen), QUIET_S)
    watched.watch.close()


def test_an_ipv6_peer_is_not_watched(provider: Provider, connect: Connect) -> None:
    _, accepted = connect(to="::1")
    assert provider.attach(Target(accepted, 0, PRECEDENCE)) is None


def test_ipv4_on_a_dual_stack_listener_is_ipv4(provider: Provider, host: EpollHost, connect: Connect) -> None:
    client, accepted = connect(to="127.0.0.1", bound_to="::")
    assert accepted.family == socket.AF_INET6
    watched = Watched(provider, host, accepted, 0, PRECEDENCE)
    set_tos(client, 0x48)
    client.send(b"x")
    assert host.run_until(watched.offended)
    assert watched.seen == [0x48]


def test_a_dialled_socket_is_watched_as_well(provider: Provider, host: EpollHost, connect: Connect) -> None:
    client, accepted = connect()
    client.setblocking(False)
    watched = Watched(provider, host, client, 0, PRECEDENCE, accepted=False)
    set_tos(accepted, 0x48)
    accepted.send(b"x")
    assert host.run_until(watched.offended)
    assert watched.seen == [0x48]


@pytest.mark.parametrize("side", ["accepted", "dialled"])
def test_a_change_before_the_attachment_is_reported(
    provider: Provider, host: EpollHost, connect: Connect, side: str
) -> None:
    client, accepted = connect(covered_by=provider)
    sender, receiver = (client, accepted) if side == "accepted" else (accepted, client)
    receiver.setblocking(False)
    set_tos(sender, 0x48)
    sender.send(b"early")
    assert host.run_until(lambda: bool(readable(receiver)))
    watched = Watched(provider, host, receiver, 0, PRECEDENCE, accepted=side == "accepted")
    assert watched.seen == []  # never from within attach
    assert host.run_until(watched.offended)
    assert watched.seen == [0x48]


@contextlib.contextmanager
def covered_listener(provider: Provider, host: EpollHost) -> Iterator[socket.socket]:
    """A listener, and one connection that is watched: from then on packets of its port are looked at."""
    with (
        socket.create_server(("127.0.0.1", 0)) as listener,
        connect_from(0, listener.getsockname()),
        listener.accept()[0] as known,
    ):
        save_syn(listener)
        provider.cover(listener, PRECEDENCE)
        known.setblocking(False)
        Watched(provider, host, known, 0, PRECEDENCE)
        yield listener


@pytest.mark.parametrize("accepted_first", [False, True])
@pytest.mark.parametrize("noticed_first", [False, True])
def test_the_next_connection_from_a_port_does_not_inherit_the_offence_of_the_last(
    provider: Provider, host: EpollHost, *, accepted_first: bool, noticed_first: bool
) -> None:
    with covered_listener(provider, host) as listener, contextlib.ExitStack() as stack:

        def accept_offender() -> None:
            sock = stack.enter_context(listener.accept()[0])
            provider.attach(Target(sock, 0, PRECEDENCE, isn=syn_of(sock).isn))

        offender = connect_from(0, listener.getsockname())
        if accepted_first:
            accept_offender()
        set_tos(offender, 0x48)
        offender.send(b"offence")
        if noticed_first:
            host.run_for(QUIET_S)
        port = offender.getsockname()[1]
        reset(offender)
        innocent = stack.enter_context(connect_from(port, listener.getsockname()))
        innocent.send(b"innocent")
        if not accepted_first:
            accept_offender()
        accepted = stack.enter_context(listener.accept()[0])
        accepted.setblocking(False)
        watched = Watched(provider, host, accepted, 0, PRECEDENCE)
        assert not host.run_until(watched.offended, QUIET_S)
        assert watched.received == b"innocent"
        set_tos(innocent, 0x48)
        innocent.send(b"offence")
        assert host.run_until(watched.offended)


def test_an_unconnected_socket_does_no_harm(provider: Provider, host: EpollHost) -> None:
    with socket.socket() as sock:
        seen: list[int | None] = []
        watch = provider.attach(Target(sock, 0, PRECEDENCE, Calls(seen.append)))
        host.run_for(QUIET_S)
        assert seen == []
        if watch is not None:
            watch.release()
            watch.close()


def test_a_socket_that_was_closed_first_does_no_harm(provider: Provider, host: EpollHost, connect: Connect) -> None:
    client, accepted = connect()
    watched = Watched(provider, host, accepted, 0, PRECEDENCE)
    accepted.close()
    host.run_for(0.15)
    watched.watch.release()
    watched.watch.close()
    client.close()


def test_what_is_withheld_is_not_readable_until_it_is_released(
    withholding: Provider, host: EpollHost, connect: Connect
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


def test_a_watch_that_was_released_is_done(withholding: Provider, host: EpollHost, connect: Connect) -> None:
    client, accepted = connect()
    watched = Watched(withholding, host, accepted, 0, PRECEDENCE)
    for tos in (0x48, 0x68):
        set_tos(client, tos)
        client.send(b"x")
    watched.watch.release()
    watched.watch.release()
    host.run_for(QUIET_S)
    assert watched.seen == []
    assert host.run_until(lambda: readable(accepted) == b"xx")


def test_what_is_withheld_stays_so_when_the_watch_is_closed(
    withholding: Provider, host: EpollHost, connect: Connect
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
    withholding: Provider, host: EpollHost, connect: Connect
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


@pytest.fixture(params=["ebpf", "socket-filter"])
def telling(request: pytest.FixtureRequest, host: EpollHost, require: Callable[..., None]) -> Iterator[Provider]:
    """Those that learn the byte from the segment itself."""
    require("linux", *_NEEDS[request.param])
    it = _WITHHOLDING[request.param](host)
    yield it
    it.close()


def test_a_byte_that_is_set_and_set_back_before_the_attachment_is_reported(telling: Provider, host: EpollHost) -> None:
    with covered_listener(telling, host) as listener, connect_from(0, listener.getsockname()) as client:
        for tos, data in ((0, b"before"), (0x48, b"offence"), (0, b"after")):
            set_tos(client, tos)
            client.send(data)
        host.run_for(QUIET_S)
        with listener.accept()[0] as accepted:
            accepted.setblocking(False)
            watched = Watched(telling, host, accepted, 0, PRECEDENCE)
            assert host.run_until(watched.offended)
            assert watched.seen == [0x48]


def test_a_remote_peer_is_watched_by_its_segments(remote: Remote, telling: Provider, host: EpollHost) -> None:
    _, peer, accepted = remote
    watched = Watched(telling, host, accepted, 0, PRECEDENCE)
    peer.tell("tos 0x10")
    peer.tell("send a")
    assert host.run_until(lambda: bool(readable(accepted)))
    watched.read()
    peer.tell("tos 0x48")
    peer.tell("send b")
    assert host.run_until(watched.offended)
    assert (watched.seen, watched.received) == ([0x48], b"a")
    assert not watched.watch.asks
