"""Keepalive probes by the segment counters: every one, and nothing else."""

from __future__ import annotations

import contextlib
import socket
import struct
from collections.abc import Callable, Iterator

import pytest

from observe.conftest import Connect, EpollHost, readable, reset
from observe.watched import Calls
from relay.observe import Target
from relay.observe.kernel.tcp_info import tcp_info
from relay.observe.providers.tcp_info import SILENT_SWEEP_S, SWEEP_S, TcpInfoProvider, counters_of, probes_between

pytestmark = pytest.mark.system


def reading(**fields: int) -> bytes:
    """Write down a struct tcp_info of an established connection that was silent for long."""
    values = {"state": 1, "last_data_sent": 5000, "last_data_received": 5000, "segs_out": 7, "segs_in": 7} | fields
    info = bytearray(160)
    info[0] = values.pop("state")
    for name, value in values.items():
        struct.pack_into(FIELDS[name][0], info, FIELDS[name][1], value)
    return bytes(info)


FIELDS = {
    "unacked": ("=I", 24),
    "last_data_sent": ("=I", 44),
    "last_data_received": ("=I", 52),
    "bytes_acked": ("=Q", 120),
    "bytes_received": ("=Q", 128),
    "segs_out": ("=I", 136),
    "segs_in": ("=I", 140),
    "notsent": ("=I", 144),
    "data_segs_in": ("=I", 152),
    "data_segs_out": ("=I", 156),
}
ANSWERED = {"segs_in": 8, "segs_out": 8}


@pytest.mark.parametrize(
    ("before", "now", "probes"),
    [
        ({}, ANSWERED, 1),
        ({}, {"segs_in": 10, "segs_out": 10}, 3),
        ({"segs_in": 0xFFFFFFFF}, {"segs_in": 0, "segs_out": 8}, 1),
        ({}, {"segs_in": 8}, 0),  # a window update from the peer
        ({}, {"segs_out": 8}, 0),  # one of ours
        ({}, {"segs_in": 9, "segs_out": 8}, 0),
        ({}, {"state": 8} | ANSWERED, 0),
        ({}, {"bytes_received": 1} | ANSWERED, 0),
        ({}, {"bytes_acked": 1} | ANSWERED, 0),
        ({}, {"data_segs_in": 1} | ANSWERED, 0),
        ({}, {"data_segs_out": 1} | ANSWERED, 0),
        ({"unacked": 1}, ANSWERED, 0),
        ({}, {"unacked": 1} | ANSWERED, 0),
        ({}, {"notsent": 1} | ANSWERED, 0),
        ({}, {"last_data_sent": 899} | ANSWERED, 0),  # ACKs that were delayed past the last look
        ({}, {"last_data_received": 899} | ANSWERED, 0),
    ],
)
def test_only_empty_answered_segments_in_silence_are_probes(
    before: dict[str, int], now: dict[str, int], probes: int
) -> None:
    assert probes_between(counters_of(reading(**before)), reading(**now)) == probes


class Arrivals:
    def __init__(self) -> None:
        self.count = 0

    def __call__(self) -> None:
        self.count += 1


@pytest.fixture
def provider(host: EpollHost, require: Callable[..., None]) -> Iterator[TcpInfoProvider]:
    require("linux")
    it = TcpInfoProvider(host)
    yield it
    it.close()


def probe_every_second(sock: socket.socket) -> None:
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, 1)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, 1)


def test_every_probe_is_reported_once_and_only_for_its_own_connection(
    provider: TcpInfoProvider, host: EpollHost, connect: Connect
) -> None:
    (client, accepted), (_, other) = connect(), connect()
    probes, none = Arrivals(), Arrivals()
    provider.attach(Target(accepted, watcher=Calls(probe=probes)))
    provider.attach(Target(other, watcher=Calls(probe=none)))
    probe_every_second(client)
    assert host.run_until(lambda: probes.count == 3)
    client.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 0)
    host.run_for(SWEEP_S + 0.1)
    assert (probes.count, none.count) == (3, 0)


def test_probes_that_came_between_two_looks_are_all_counted(host: EpollHost, connect: Connect) -> None:
    client, accepted = connect()
    probe_every_second(client)
    before = counters_of(tcp_info(accepted))
    assert host.run_until(lambda: probes_between(before, tcp_info(accepted)) == 2, 4)


def test_a_socket_that_is_silent_for_long_is_looked_at_seldom_and_its_probes_are_reported_still(
    provider: TcpInfoProvider, host: EpollHost, connect: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("relay.observe.providers.tcp_info._SILENT_AFTER_LOOKS", 3)
    client, accepted = connect()
    probes, looks = Arrivals(), Arrivals()
    watch = provider.attach(Target(accepted, watcher=Calls(probe=probes)))
    assert watch is not None

    def count_looks(sock: socket.socket, size_bytes: int = 160) -> bytes:
        looks()
        return tcp_info(sock, size_bytes)

    monkeypatch.setattr("relay.observe.providers.tcp_info.tcp_info", count_looks)
    host.run_for(4 * SWEEP_S)
    looks.count = 0
    host.run_for(SILENT_SWEEP_S)
    assert looks.count <= 2, "once in a sweep of the silent, and perhaps at either end of the time"
    probe_every_second(client)
    assert host.run_until(lambda: probes.count == 3)
    looks.count = 0
    host.run_for(3 * SWEEP_S)
    assert looks.count >= 2, "one that has spoken is looked at often again"


def test_traffic_is_not_taken_for_probes(provider: TcpInfoProvider, host: EpollHost, connect: Connect) -> None:
    client, accepted = connect()
    probes = Arrivals()
    provider.attach(Target(accepted, watcher=Calls(probe=probes)))

    def answer() -> None:
        accepted.send(b"answer")

    def exchange() -> None:
        client.send(b"question")
        host.call_later(0.01, answer)
        host.call_later(0.3, exchange)

    exchange()
    host.run_for(1.5)
    assert probes.count == 0


@pytest.mark.parametrize("by_peer", [False, True])
def test_a_fin_and_its_ack_are_not_taken_for_a_probe(
    provider: TcpInfoProvider, host: EpollHost, connect: Connect, by_peer: bool
) -> None:
    client, accepted = connect()
    probes = Arrivals()
    host.run_for(1.0)  # as silent as before a probe
    provider.attach(Target(accepted, watcher=Calls(probe=probes)))
    (client if by_peer else accepted).shutdown(socket.SHUT_WR)
    host.run_for(SWEEP_S + 0.1)
    assert probes.count == 0


def test_zero_window_probes_are_not_taken_for_keepalive(
    provider: TcpInfoProvider, host: EpollHost, connect: Connect
) -> None:
    client, accepted = connect()
    probes = Arrivals()
    client.setblocking(False)
    with contextlib.suppress(BlockingIOError):
        while client.send(bytes(1 << 20)):
            pass
    provider.attach(Target(accepted, watcher=Calls(probe=probes)))
    before = counters_of(tcp_info(accepted))
    host.run_for(3.0)  # the peer probes the closed window ever more seldom: at 0.2, 0.6, 1.4, 3.0 s
    assert tcp_info(accepted)[136:144] != before[136:144]
    assert probes.count == 0


def test_probes_of_our_own_are_not_taken_for_the_peers(
    provider: TcpInfoProvider, host: EpollHost, connect: Connect
) -> None:
    _, accepted = connect()
    probes = Arrivals()
    provider.attach(Target(accepted, watcher=Calls(probe=probes)))
    probe_every_second(accepted)
    host.run_for(2.2)
    assert probes.count == 0


def test_a_probe_after_data_is_seen(provider: TcpInfoProvider, host: EpollHost, connect: Connect) -> None:
    client, accepted = connect()
    probes = Arrivals()
    provider.attach(Target(accepted, watcher=Calls(probe=probes)))
    client.send(b"data")
    assert host.run_until(lambda: bool(readable(accepted)))
    probe_every_second(client)
    assert host.run_until(lambda: probes.count == 1)


def test_a_closed_watch_and_a_closed_socket_report_nothing(
    provider: TcpInfoProvider, host: EpollHost, connect: Connect
) -> None:
    (client, accepted), (_, gone) = connect(), connect()
    probes = Arrivals()
    watch = provider.attach(Target(accepted, watcher=Calls(probe=probes)))
    assert watch is not None
    assert provider.attach(Target(gone, watcher=Calls(probe=probes))) is not None
    reset(gone)
    assert provider.attach(Target(gone, watcher=Calls(probe=probes))) is None
    watch.close()
    probe_every_second(client)
    host.run_for(1.6)
    assert probes.count == 0
    assert host.pending == 0


def test_a_watch_closed_by_its_first_probe_reports_no_second(
    provider: TcpInfoProvider, host: EpollHost, connect: Connect
) -> None:
    client, accepted = connect()
    count = 0

    def arrived() -> None:
        nonlocal count
        count += 1
        assert watch is not None
        watch.close()

    watch = provider.attach(Target(accepted, watcher=Calls(probe=arrived)))
    host.run_for(SWEEP_S + 0.1)  # the first look, which the others are compared with
    before = counters_of(tcp_info(accepted))
    probe_every_second(client)
    with contextlib.closing(EpollHost()) as elsewhere:  # so that no loop looks meanwhile
        assert elsewhere.run_until(lambda: probes_between(before, tcp_info(accepted)) == 2)
    host.run_for(SWEEP_S + 0.1)
    assert count == 1


def test_the_self_test_passes_here(require: Callable[..., None]) -> None:
    require("linux")
    assert TcpInfoProvider.self_test() is None
