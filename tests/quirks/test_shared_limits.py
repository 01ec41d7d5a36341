"""One connection too many, on kernel sockets and in wire mode; and a dial that waits for the first byte.

What a limit counts, and for how long, is played without sockets in `tests/driver/test_shared_limits.py`.
"""

from __future__ import annotations

import json
import socket
import sys
from pathlib import Path

import pytest

from relay.testing import serve_in_thread
from support.behind_nat import BACKENDS, HOST, run_inside
from support.clients import Refused, connect
from support.origins import Origin, black_hole, echo, read_exactly, reset

SILENCE_S = 0.3
WAYS = ("forward", "socks5", "http-connect")


def says(sock: socket.socket, words: bytes = b"hello") -> None:
    sock.sendall(words)
    assert read_exactly(sock, len(words)) == words


def hears_nothing(sock: socket.socket) -> None:
    sock.settimeout(SILENCE_S)
    with pytest.raises(TimeoutError):
        sock.recv(1)


@pytest.mark.parametrize("way", WAYS)
def test_a_destination_that_does_not_answer_stops_all_other_connects(backend: str, way: str) -> None:
    limit = {"max_pending": 1}
    with (
        Origin(echo) as origin,
        black_hole() as dead_port,
        serve_in_thread("transparent", backend=backend, pending_limit=limit) as nat,
    ):
        pending = socket.create_connection(nat.forward("127.0.0.1", dead_port))
        nat.wait_for("flow-opened")
        with socket.create_connection(nat.forward(origin.host, origin.port)) as app:
            app.sendall(b"hello")
            hears_nothing(app)
        assert nat.wait_for("slot-denied").fields["because"] == "pending-limit"
        reset(pending)
        nat.wait_for("flow-ended", because="internal-peer")
        with connect(nat, way, origin.host, origin.port) as app:
            says(app)


@pytest.mark.parametrize(("way", "code"), [("socks5", 5), ("http-connect", 502)])
def test_one_too_many_to_a_destination_is_refused_as_a_closed_port_is(backend: str, way: str, code: int) -> None:
    limit = {"max_flows": 1, "surplus": "refuse", "hold_after_fin_s": 65}
    with (
        Origin(echo) as origin,
        Origin(echo) as other,
        serve_in_thread("transparent", backend=backend, flow_limit=limit) as nat,
    ):
        with connect(nat, way, origin.host, origin.port) as app:
            says(app)
            with connect(nat, way, other.host, other.port) as elsewhere:
                says(elsewhere)
            with pytest.raises(Refused) as refused:
                connect(nat, way, origin.host, origin.port)
            assert refused.value.code == code
            with socket.create_connection(nat.forward(origin.host, origin.port)) as forwarded:
                forwarded.settimeout(20)
                with pytest.raises(ConnectionResetError):
                    forwarded.recv(1)
        nat.wait_for("flow-ended", flow=1)
        with pytest.raises(Refused):
            connect(nat, way, origin.host, origin.port)
        nat.advance(65)
        with connect(nat, way, origin.host, origin.port) as app:
            says(app)


def test_a_turn_comes_when_another_dial_is_through(backend: str) -> None:
    with (
        Origin(echo) as origin,
        black_hole() as dead_port,
        serve_in_thread("transparent", backend=backend, pending_limit={"max_pending": 1, "surplus": "wait"}) as nat,
        socket.create_connection(nat.forward("127.0.0.1", dead_port)) as pending,
        socket.create_connection(nat.forward(origin.host, origin.port)) as first,
        socket.create_connection(nat.forward(origin.host, origin.port)) as second,
    ):
        for app in (first, second):
            app.sendall(b"hello")
        hears_nothing(first)
        reset(pending)
        for app in (first, second):
            app.settimeout(20)
            assert read_exactly(app, 5) == b"hello"


@pytest.mark.parametrize("way", WAYS)
def test_a_server_sees_a_connection_when_the_app_has_sent_something(backend: str, way: str) -> None:
    settings = {"order": "internal-first", "dial_on": "data"}
    with (
        Origin(echo) as origin,
        serve_in_thread("transparent", backend=backend, precomplete_handshake=settings) as nat,
        connect(nat, way, origin.host, origin.port) as app,
    ):
        hears_nothing(app)
        assert [record for record in nat.events if record.event == "flow-connected"] == []
        app.settimeout(20)
        says(app)


# Holds one connection and asks for another, while all packets are kept: when that SYN was answered, and how often sent.
# The first is closed once the relay's log says that there is no room for another.
SURPLUS_SYN = """
import json, socket, sys, threading, time
from pathlib import Path
from relay.wire.packet import parse_ipv4
from relay.wire.segment import parse_segment
from support.frames import Frames
server, port, events = sys.argv[1], int(sys.argv[2]), Path(sys.argv[3])

def make_room():
    while '"slot-denied"' not in events.read_text():
        time.sleep(0.01)
    first.close()

first = socket.create_connection((server, port))
with Frames() as frames, socket.socket() as second:
    second.bind(("0.0.0.0", 0))
    own_port = second.getsockname()[1]
    threading.Thread(target=make_room).start()
    second.settimeout(20)
    second.connect((server, port))
    time.sleep(0.1)
found = []
for at_s, packet in frames.kept:
    ip = parse_ipv4(memoryview(packet))
    parsed = parse_segment(ip.payload) if ip is not None else None
    if parsed is not None and own_port in parsed[:2]:
        found.append((parsed[0] == own_port, parsed[2].flags))
print(json.dumps(found))
"""


@pytest.mark.system
@pytest.mark.skipif(sys.platform != "linux", reason="namespaces are Linux's")
@pytest.mark.parametrize("backend", BACKENDS)
def test_a_surplus_syn_is_swallowed_and_the_next_is_answered_if_there_is_room(
    tmp_path: Path, backend: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parents[1]))
    settings = ("--profile", "transparent", "--set", "flow-limit.max_flows=1")
    with Origin(echo) as origin:
        command = [sys.executable, "-c", SURPLUS_SYN, HOST, str(origin.port), str(tmp_path / "events.jsonl")]
        done, events = run_inside(tmp_path, command, "--backend", backend, *settings)
    assert (done.returncode, done.stderr) == (0, "")
    syn, syn_ack, ack = 0x02, 0x12, 0x10
    segments = [tuple(segment) for segment in json.loads(done.stdout)]
    assert segments[:4] == [(True, syn), (True, syn), (False, syn_ack), (True, ack)]
    assert [event["because"] for event in events if event["event"] == "slot-denied"] == ["flow-limit"]
