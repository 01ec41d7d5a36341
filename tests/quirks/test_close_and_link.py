"""How a flow ends: what crosses, what a link that went down does, and what was acknowledged for nothing."""

from __future__ import annotations

import contextlib
import select
import signal
import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from relay.net.queues import unsent_bytes
from relay.testing import RunningRelay, serve_in_thread
from support.capabilities import need_capture
from support.capture import Capture
from support.clients import connect
from support.origins import (
    Origin,
    Received,
    Recorder,
    read_exactly,
    read_to_end,
    reset,
    wait_until_acknowledged,
)
from support.programs import serve

FRONT_ENDS = ("forward", "socks5", "http-connect")
VMWARE = ("vmware-fusion", "vmware-workstation", "vmware-workstation-16")
FLOWS = 5


def exchange(sock: socket.socket) -> None:
    sock.sendall(b"hello")
    assert read_exactly(sock, 5) == b"hello"


@pytest.mark.parametrize("front_end", FRONT_ENDS)
@pytest.mark.parametrize(("profile", "how"), [*((name, "fin") for name in VMWARE), ("transparent", "rst")])
def test_the_apps_rst_reaches_the_server_as_a_fin_behind_vmware_alone(
    backend: str, profile: str, how: str, front_end: str
) -> None:
    need_capture()
    recorder = Recorder()
    with Origin(recorder) as origin, serve_in_thread(profile, backend=backend) as nat:
        with Capture(origin.port) as external:
            sock = connect(nat, front_end, origin.host, origin.port)
            exchange(sock)
            reset(sock)
            assert recorder.take() == [Received(b"hello", how)]
        nat.wait_for("rst-received", side="internal")
        nat.wait_for(f"{how}-sent", side="external", because="close-mapping")
    ends = {packet.flags.replace("P", "") for packet in external.packets if packet.target_port == origin.port}
    assert ends & {"FA", "RA", "R"} == ({"FA"} if how == "fin" else {"RA"})


@pytest.mark.parametrize("front_end", FRONT_ENDS)
@pytest.mark.parametrize("profile", ["vmware-fusion", "transparent"])
def test_the_servers_rst_reaches_the_app_as_a_rst(backend: str, profile: str, front_end: str) -> None:
    need_capture()

    def answer_and_reset(connection: socket.socket) -> None:
        connection.sendall(read_exactly(connection, 5))
        reset(connection)

    with Origin(answer_and_reset) as origin, serve_in_thread(profile, backend=backend) as nat:
        with connect(nat, front_end, origin.host, origin.port) as sock, Capture(sock.getpeername()[1]) as internal:
            exchange(sock)
            with pytest.raises(ConnectionResetError):
                sock.recv(1)
        nat.wait_for("rst-received", side="external")
    flags = {packet.flags for packet in internal.packets if packet.source_port == internal.packets[0].target_port}
    assert "RA" in flags
    assert "FA" not in flags


@pytest.mark.parametrize("front_end", FRONT_ENDS)
def test_a_half_close_passes_both_ways(backend: str, front_end: str) -> None:
    def count(connection: socket.socket) -> None:
        connection.sendall(b"%d" % len(read_to_end(connection)))

    with (
        Origin(count) as origin,
        serve_in_thread("vmware-fusion", backend=backend) as nat,
        connect(nat, front_end, origin.host, origin.port) as sock,
    ):
        sock.sendall(bytes(100_000))
        sock.shutdown(socket.SHUT_WR)
        assert read_to_end(sock) == b"100000"


@contextlib.contextmanager
def flows_through(nat: RunningRelay, origin: Origin) -> Iterator[list[socket.socket]]:
    """Some flows of each front end, all of them in use."""
    with contextlib.ExitStack() as stack:
        flows = [
            stack.enter_context(connect(nat, front_end, origin.host, origin.port))
            for front_end in FRONT_ENDS
            for _ in range(FLOWS)
        ]
        for sock in flows:
            exchange(sock)
        yield flows


@pytest.mark.parametrize("profile", VMWARE)
def test_a_link_that_goes_down_resets_every_flow_on_both_sides(backend: str, profile: str) -> None:
    recorder = Recorder()
    with Origin(recorder) as origin, serve_in_thread(profile, backend=backend) as nat:
        with flows_through(nat, origin) as flows:
            nat.link_down()
            for sock in flows:
                with pytest.raises(ConnectionResetError):
                    sock.recv(1)
            assert recorder.take(len(flows)) == [Received(b"hello", "rst")] * len(flows)
        assert nat.flow_count == 0
        ended = [nat.wait_for("flow-ended", flow=flow) for flow in range(1, len(flows) + 1)]
        assert [record.fields["because"] for record in ended] == ["link-down-reset"] * len(flows)
        with connect(nat, "socks5", origin.host, origin.port) as sock:
            exchange(sock)  # a new flow is none the worse for it


def test_without_the_quirk_a_link_that_goes_down_ends_nothing(backend: str) -> None:
    with (
        Origin(Recorder()) as origin,
        serve_in_thread("transparent", backend=backend) as nat,
        flows_through(nat, origin) as flows,
    ):
        nat.link_down()
        nat.wait_for("link-down")
        for sock in flows:
            exchange(sock)
        assert nat.flow_count == len(flows)


@pytest.mark.parametrize(("profile", "survives"), [("vmware-fusion", False), ("transparent", True)])
def test_sigusr1_takes_the_link_down(backend: str, profile: str, survives: bool, tmp_path: Path) -> None:
    recorder = Recorder()
    arguments = ("--profile", profile, "--backend", backend)
    with Origin(recorder) as origin, serve(tmp_path, *arguments, "--forward", f"0:{origin.target}") as served:
        with socket.create_connection(("127.0.0.1", served.ports[1]), 60) as sock:
            exchange(sock)
            served.process.send_signal(signal.SIGUSR1)
            served.wait_for("link-down")
            if survives:
                exchange(sock)
            else:
                with pytest.raises(ConnectionResetError):
                    sock.recv(1)
                assert recorder.take() == [Received(b"hello", "rst")]
        served.wait_for("flow-ended", because="internal-peer" if survives else "link-down-reset")


@pytest.mark.parametrize("front_end", FRONT_ENDS)
@pytest.mark.parametrize("half_closed", [False, True])
def test_what_was_acknowledged_and_never_taken_is_reported_to_the_byte(
    backend: str, front_end: str, half_closed: bool
) -> None:
    need_capture()
    may_reset = threading.Event()

    def read_nothing_and_reset(connection: socket.socket) -> None:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        assert may_reset.wait(20)
        reset(connection)

    sent_bytes = 1_000_000
    with Origin(read_nothing_and_reset) as origin, serve_in_thread("vmware-fusion", backend=backend) as nat:
        with Capture(origin.port) as external, connect(nat, front_end, origin.host, origin.port) as sock:
            sock.sendall(bytes(sent_bytes))
            if half_closed:
                sock.shutdown(socket.SHUT_WR)
            wait_until_acknowledged(sock)
            if half_closed:
                nat.wait_for("fin-sent", side="external")
            may_reset.set()
            with pytest.raises(ConnectionResetError):
                sock.recv(1)
        lost_bytes = sent_bytes - taken_from(external, origin.port)
        assert 0 < lost_bytes < sent_bytes
        nat.wait_for("bytes-lost", bytes=lost_bytes, because="local-ack")
        nat.wait_for("flow-ended", bytes_lost=lost_bytes, external="rst", external_because="peer")


@pytest.mark.parametrize("front_end", FRONT_ENDS)
def test_a_server_that_resets_while_all_buffers_are_full_resets_the_app_and_the_bytes_are_counted(
    backend: str, front_end: str
) -> None:
    need_capture()
    may_reset = threading.Event()

    def reset_on_cue(connection: socket.socket) -> None:
        assert may_reset.wait(20)
        reset(connection)

    with Origin(reset_on_cue) as origin, serve_in_thread("vmware-fusion", backend=backend) as nat:
        with (
            Capture(origin.port) as external,
            connect(nat, front_end, origin.host, origin.port) as sock,
            Capture(sock.getpeername()[1]) as internal,
        ):
            acknowledged_bytes = fill(sock)
            may_reset.set()
            with pytest.raises(ConnectionResetError):
                sock.recv(1)
        first = next(packet for packet in internal.packets if packet.data_bytes)
        answers = [packet for packet in internal.packets if packet.target_port == first.source_port]
        last_ack_bytes = max((packet.ack - first.seq) % (1 << 32) for packet in answers if packet.at_s > first.at_s)
        taken_bytes = taken_from(external, origin.port)
        ended = nat.wait_for("flow-ended", because="external-peer")
        # The kernel goes on acknowledging between the server's RST and ours.
        assert acknowledged_bytes <= ended.fields["bytes_lost"] + taken_bytes <= last_ack_bytes


def fill(sock: socket.socket) -> int:
    """Send until nothing more is taken; how many bytes the other kernel has acknowledged by then."""
    sent_bytes = 0
    while select.select([], [sock], [], 0.5)[1]:
        sent_bytes += sock.send(bytes(65536), socket.MSG_DONTWAIT)
    return sent_bytes - (unsent_bytes(sock) or 0)


def taken_from(capture: Capture, port: int) -> int:
    """How many bytes the server on this port acknowledged before its RST, whose own ACK every kernel ignores."""
    syn = next(packet for packet in capture.packets if packet.flags == "S")
    acks = [packet.ack for packet in capture.packets if packet.source_port == port and "R" not in packet.flags]
    return max((ack - syn.seq - 1) % (1 << 32) for ack in acks)


def test_a_server_that_takes_everything_loses_nothing(backend: str) -> None:
    def take_all_and_reset(connection: socket.socket) -> None:
        read_exactly(connection, 100_000)
        reset(connection)

    with Origin(take_all_and_reset) as origin, serve_in_thread("vmware-fusion", backend=backend) as nat:
        with connect(nat, "socks5", origin.host, origin.port) as sock:
            sock.sendall(bytes(100_000))
            with pytest.raises(ConnectionResetError):
                sock.recv(1)
        nat.wait_for("flow-ended", bytes_lost=0, external="rst")
        assert [record for record in nat.events if record.event == "bytes-lost"] == []
