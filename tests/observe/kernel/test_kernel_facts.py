"""What the providers rely on the kernel for, one fact a test: when one fails, the kernel has changed."""

from __future__ import annotations

import contextlib
import errno
import os
import select
import socket
import struct
from collections.abc import Callable, Iterator

import pytest

from observe.conftest import Connect, EpollHost, readable, set_tos
from relay.observe.kernel.bpf import accept, attach, drop, load_byte, program
from relay.observe.kernel.drops import drops_of, segments_in
from relay.observe.kernel.ends import ends_of
from relay.observe.kernel.sock_diag import SockDiag, SocketInfo
from relay.observe.kernel.tcp_info import tcp_info
from relay.observe.providers.socket_filter import withholding_program

SO_ATTACH_FILTER = 26
SO_DETACH_FILTER = 27
ETH_P_ALL = 3
ETH_P_IP = 0x0800
SOL_PACKET = 263
PACKET_IGNORE_OUTGOING = 23
LISTEN, TIME_WAIT = 10, 6


@pytest.fixture(autouse=True)
def _linux(require: Callable[..., None]) -> None:
    require("linux")


@pytest.fixture
def _may_see_packets(require: Callable[..., None]) -> None:
    require("cap_net_raw")


@pytest.fixture
def diag() -> Iterator[SockDiag]:
    it = SockDiag()
    yield it
    it.close()


def peer_info(diag: SockDiag, accepted: socket.socket) -> SocketInfo:
    ends = ends_of(accepted)
    assert ends is not None
    found = diag.query(ends.peer, ends.local)
    assert found is not None
    return found


def test_a_withheld_segment_raises_the_drop_counter_and_not_the_segments(
    host: EpollHost, connect: Connect, require: Callable[..., None]
) -> None:
    require("cap_net_admin")
    client, accepted = connect()
    assert drops_of(accepted) == 0
    before = segments_in(accepted)
    accepted.setsockopt(socket.SOL_SOCKET, SO_ATTACH_FILTER, withholding_program(0, 0xE0).fprog)
    set_tos(client, 0x48)
    client.send(b"x")
    assert host.run_until(lambda: drops_of(accepted) == 1)
    assert segments_in(accepted) == before
    assert readable(accepted) == b""


@pytest.mark.system
def test_a_keepalive_probe_raises_both(host: EpollHost, connect: Connect) -> None:
    client, accepted = connect()
    before = segments_in(accepted)
    client.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    client.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, 1)
    assert host.run_until(lambda: segments_in(accepted) == before + 1)
    assert drops_of(accepted) == 1


def test_a_detached_filter_lets_the_retransmission_in(
    host: EpollHost, connect: Connect, require: Callable[..., None]
) -> None:
    require("cap_net_admin")
    client, accepted = connect()
    attach(accepted, program(drop()))
    client.send(b"x")
    accepted.setsockopt(socket.SOL_SOCKET, SO_DETACH_FILTER, 0)
    assert host.run_until(lambda: readable(accepted) == b"x")


def count_packets(host: EpollHost, connect: Connect, ether_type: int, *, ignore_outgoing: bool) -> int:
    """Send one marked segment on loopback, and return how often a packet socket is shown it."""
    client, accepted = connect()
    marked = 0xB8
    only_marked = program(load_byte(1), (0x15, 0, 1, marked), accept(), drop())
    with socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM, socket.htons(ether_type)) as packets:
        packets.setblocking(False)
        packets.setsockopt(socket.SOL_SOCKET, SO_ATTACH_FILTER, only_marked.fprog)
        packets.setsockopt(SOL_PACKET, PACKET_IGNORE_OUTGOING, int(ignore_outgoing))
        key = ends_of(accepted)
        assert key is not None
        set_tos(client, marked)
        for _ in range(3):  # on a busy host one in some hundred segments is not shown at all
            client.send(b"x")
            assert host.run_until(lambda: readable(accepted) == b"x")
            accepted.recv(1)
            seen = []
            while packet := readable(packets):
                packets.recv(1)
                if packet[12:24] == key.key:
                    seen.append(packet)
            if seen:
                return seen.count(seen[0])
    return 0


@pytest.mark.usefixtures("_may_see_packets")
@pytest.mark.parametrize(
    ("ether_type", "ignore_outgoing", "times"),
    [(ETH_P_IP, False, 1), (ETH_P_IP, True, 1), (ETH_P_ALL, True, 1), (ETH_P_ALL, False, 2)],
)
def test_how_often_a_packet_on_loopback_is_shown(
    host: EpollHost, connect: Connect, ether_type: int, ignore_outgoing: bool, times: int
) -> None:
    assert count_packets(host, connect, ether_type, ignore_outgoing=ignore_outgoing) == times


def test_sock_diag_tells_the_byte_uid_and_inode_of_the_peers_socket(diag: SockDiag, connect: Connect) -> None:
    client, accepted = connect()
    set_tos(client, 0x48)
    found = peer_info(diag, accepted)
    assert (found.tos, found.uid, found.inode) == (0x48, os.getuid(), os.fstat(client.fileno()).st_ino)


def test_sock_diag_tells_when_the_next_keepalive_probe_is_due(diag: SockDiag, connect: Connect) -> None:
    client, accepted = connect()
    assert peer_info(diag, accepted).keepalive_timer_s is None
    client.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    client.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, 90)
    due_s = peer_info(diag, accepted).keepalive_timer_s
    assert due_s is not None
    assert 80 < due_s <= 90


def test_an_orphaned_socket_has_no_inode(diag: SockDiag, connect: Connect) -> None:
    client, accepted = connect()
    ends = ends_of(accepted)
    client.close()
    assert ends is not None
    found = diag.query(ends.peer, ends.local)
    assert found is None or found.inode == 0


def test_the_shape_of_tcp_info(host: EpollHost, connect: Connect) -> None:
    client, accepted = connect()
    client.send(b"12345")
    assert host.run_until(lambda: readable(accepted) == b"12345")
    accepted.send(b"123")
    client.recv(3)
    info = tcp_info(accepted, 236)
    assert len(info) == 236
    assert struct.unpack_from("=Q", info, 128) == (5,)  # bytes_received
    assert struct.unpack_from("=II", info, 152) == (1, 1)  # data_segs_in, data_segs_out
    assert struct.unpack_from("=I", info, 232)[0] > 0  # rcv_wnd


def test_a_second_connect_tells_how_the_first_has_ended_on_loopback_and_a_poll_can_be_spared() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener, socket.socket() as sock:
        sock.setblocking(False)
        assert sock.connect_ex(listener.getsockname()) == errno.EINPROGRESS
        assert sock.connect_ex(listener.getsockname()) == 0
        unused = listener.getsockname()
    with socket.socket() as sock:
        sock.setblocking(False)
        assert [sock.connect_ex(unused) for _ in range(2)] == [errno.EINPROGRESS, errno.ECONNREFUSED]


def test_a_second_connect_tells_of_one_that_is_under_way_still() -> None:
    with socket.create_server(("127.0.0.1", 0), backlog=0) as listener:
        clients = [socket.socket() for _ in range(3)]  # more than such a backlog takes: the last SYN is not answered
        for client in clients:
            client.setblocking(False)
            client.connect_ex(listener.getsockname())
        assert clients[-1].connect_ex(listener.getsockname()) == errno.EALREADY
        for client in clients:
            client.close()


def test_what_is_accepted_inherits_no_delay_from_its_listener() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        with socket.create_connection(listener.getsockname()), listener.accept()[0] as accepted:
            assert accepted.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)


def test_a_closed_socket_leaves_its_epoll_by_itself() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener, contextlib.closing(select.epoll()) as epoll:
        client = socket.create_connection(listener.getsockname())
        with listener.accept()[0] as accepted:
            epoll.register(client.fileno(), select.EPOLLIN | select.EPOLLET)
            client.close()
            accepted.send(b"for no reader")
            assert epoll.poll(0) == []
