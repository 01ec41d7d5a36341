"""The first article's session once more: a real kernel's client in the namespace, and a server 210 ms away.

Every frame that the NAT sends is compared with the trace's, field by field; so is the end on the host's side.
"""

from __future__ import annotations

import contextlib
import json
import os
import socket
import sys
import threading
import time
from dataclasses import dataclass
from pathlib import Path

import pytest

from captures.replay import TIME_TOLERANCE_S, Sent, differences
from captures.script import Play
from captures.trace import elapsed_ms, read_trace
from relay.wire.packet import Ipv4, parse_ipv4, undotted
from relay.wire.segment import ACK, FIN, RST, SYN, Segment, parse_segment
from relay.wire.sequence import MASK
from support.behind_nat import BACKENDS, HOST, run_inside
from support.namespaces import in_own_network
from support.origins import Origin, echo
from support.slow_network import FAR, NEAR, SlowNetwork

pytestmark = [pytest.mark.system, pytest.mark.skipif(sys.platform != "linux", reason="namespaces are Linux's")]

GUEST_TRACE, HOST_TRACE = read_trace("fusion_guest"), read_trace("fusion_host")
SSH = 22
DELAY_S = 0.105  # the session's server answered once after 212.6 ms; what is earlier waits for the trace's time
DELIVERED_BYTES = 2641
APART_S = 0.012  # two pieces that the relay is not to read at once
LATE = ": at_s is "
"""Is in each difference of time alone."""
ATTEMPTS = 4


@dataclass(frozen=True)
class Seen:
    """One packet of a capture."""

    at_s: float
    ip: Ipv4
    source_port: int
    segment: Segment


class Server:
    """Answers as the trace's server did, then waits for the end."""

    def __init__(self) -> None:
        self.end = ""
        self.received_bytes = 0
        self._listener = socket.create_server((NEAR, SSH))
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def wait(self) -> None:
        self._thread.join(20)
        self._listener.close()

    def _serve(self) -> None:
        connection, _ = self._listener.accept()
        with connection:
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            connection.settimeout(20)
            playing = Play(connection, time.monotonic() - 3 * DELAY_S)
            previous_s = 0.0
            for frame in GUEST_TRACE.values():
                if frame.sender == "nat" and frame.len and frame.number != 37 and frame.ack is not None:
                    playing.receive(frame.ack - 1)
                    previous_s = max(frame.at_s, previous_s + APART_S)
                    playing.send(frame.len, previous_s - DELAY_S - 0.001)
            try:
                playing.receive(DELIVERED_BYTES)
                self.end = "data" if connection.recv(65536) else "FIN"
            except ConnectionResetError:
                self.end = "RST"
            self.received_bytes = playing.received_bytes


@dataclass(frozen=True)
class Replayed:
    """What the guest saw, what the host's side saw, the server, and how the guest's connection ended."""

    inside: list[Seen]
    outside: list[Seen]
    server: Server
    guests_end: str


def replay(directory: Path, *options: str) -> Replayed:
    """Play the session."""

    def play() -> tuple[list[Seen], Server, str]:
        with contextlib.suppress(PermissionError):  # some containers
            # This thread, and all that it starts, goes before the host's other work: its times are compared.
            os.sched_setscheduler(0, os.SCHED_RR, os.sched_param(1))
        with SlowNetwork(DELAY_S) as network:
            server = Server()
            command = [sys.executable, "-m", "captures.guest", FAR, str(SSH), str(directory / "frames")]
            done, _ = run_inside(directory, command, "--offload", "off", *options)
            assert (done.returncode, done.stderr) == (0, "")
            server.wait()
            time.sleep(3 * DELAY_S)  # the last acknowledgement
        return [each for at_s, packet in network.packets for each in seen(at_s, packet)], server, done.stdout

    outside, server, guests_end = in_own_network(play)
    inside = [
        each
        for at_s, packet in json.loads((directory / "frames").read_text())
        for each in seen(at_s, bytes.fromhex(packet))
    ]
    return Replayed(inside, outside, server, guests_end.strip())


def seen(at_s: float, packet: bytes) -> list[Seen]:
    ip = parse_ipv4(memoryview(packet))
    parsed = parse_segment(ip.payload, tos=ip.tos) if ip is not None else None
    return [Seen(at_s, ip, parsed[0], parsed[2])] if ip is not None and parsed is not None else []


@pytest.fixture(autouse=True)
def _programs_find_these_tests(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parents[1]))


@pytest.mark.parametrize("backend", BACKENDS)
def test_every_frame_of_the_nat_is_as_in_the_trace_and_so_is_the_end_at_the_server(
    tmp_path: Path, backend: str
) -> None:
    for _ in range(ATTEMPTS):
        replayed = replay(tmp_path, "--backend", backend)
        found = [*_differences(replayed), *_differences_outside(replayed)]
        if not any(LATE in each for each in found):
            break  # else the host was too busy for a trial
    assert found == []
    _check_packets(replayed)


def test_the_control_profile_differs_in_what_the_article_is_about(tmp_path: Path) -> None:
    replayed = replay(tmp_path, "--profile", "transparent")
    assert (replayed.guests_end, replayed.server.end) == ("FIN", "data")
    found = _differences(replayed)
    assert "frame 36: flags is ., was R" in found
    assert not any("window" in each or "mss" in each for each in found), "vmnat's are the usual ones"


def test_the_reset_comes_within_a_millisecond(tmp_path: Path) -> None:
    with Origin(echo) as origin:
        command = [sys.executable, "-m", "support.marking_client", HOST, str(origin.port), "20"]
        done, _ = run_inside(tmp_path, command, "--offload", "off")
    assert (done.returncode, done.stderr) == (0, "")
    waits_s = sorted(map(float, done.stdout.split()))
    assert len(waits_s) == 20
    assert waits_s[5] < 0.001, waits_s  # a busy host delays the others


def _differences(replayed: Replayed) -> list[str]:
    ours, guests = _by_sender(replayed.inside)
    sent = [Sent(each.at_s - guests[0].at_s, each.segment) for each in ours]
    return differences(GUEST_TRACE.values(), sent, nat_isn=ours[0].segment.seq, guest_isn=guests[0].segment.seq)


def _by_sender(packets: list[Seen]) -> tuple[list[Seen], list[Seen]]:
    """Those from the server's port, and the others."""
    return [each for each in packets if each.source_port == SSH], [each for each in packets if each.source_port != SSH]


def _check_packets(replayed: Replayed) -> None:
    ours, guests = _by_sender(replayed.inside)
    headers = {(each.ip.source, each.ip.ttl, each.ip.dont_fragment, each.ip.tos) for each in ours}
    assert headers == {(undotted(FAR), 128, False, 0)}
    first = ours[0].ip.ident
    assert [each.ip.ident - first & 0xFFFF for each in ours] == list(range(len(ours)))
    # What the guest's kernel made of it.
    marked, last = guests[-2], guests[-1]
    assert (marked.segment.tos, len(marked.segment.payload), last.segment.flags) == (0x48, 392, RST)
    assert last.segment.seq - guests[0].segment.seq & MASK == GUEST_TRACE[38].seq


def _differences_outside(replayed: Replayed) -> list[str]:
    servers, nats = _by_sender(replayed.outside)
    server = replayed.server
    assert (replayed.guests_end, server.end, server.received_bytes) == ("RST", "FIN", DELIVERED_BYTES)
    assert nats[0].segment.flags & SYN
    (fin,) = [each for each in nats if each.segment.flags & (FIN | RST)]
    numbers = (fin.segment.seq - nats[0].segment.seq & MASK, fin.segment.ack - servers[0].segment.seq & MASK)
    assert (fin.segment.flags, *numbers) == (FIN | ACK, HOST_TRACE[33].seq, HOST_TRACE[33].ack)
    last_data_s = max(each.at_s for each in servers if len(each.segment.payload)) + DELAY_S
    took_s, was_s = fin.at_s - last_data_s, elapsed_ms(HOST_TRACE, 31, 33) / 1000
    if abs(took_s - was_s) <= TIME_TOLERANCE_S:
        return []
    return [f"host frame 33{LATE}{took_s:.6f} after the server's last data, was {was_s:.6f}"]
