"""A segment whose precedence differs from its SYN's is reset: real sockets, both providers, the wire as witness."""

from __future__ import annotations

import socket
import statistics
import sys
import threading
import time
from collections.abc import Callable, Iterable
from pathlib import Path

import pytest

from relay.testing import RunningRelay, serve_in_thread
from support.capabilities import missing, need_capture, need_root
from support.capture import Capture
from support.clients import connect, is_reset_by
from support.measuring import least
from support.origins import (
    Origin,
    Received,
    Recorder,
    read_exactly,
    read_to_end,
    read_until_over,
    wait_until_acknowledged,
)
from support.programs import as_ordinary_user, serve

FRONT_ENDS = ("forward", "socks5")
WITHHOLDING = ("ebpf", "socket-filter")
OBSERVERS = (*WITHHOLDING, "sock-diag")
AT_ONCE_S = 0.3  # less than it takes to find a change without a packet: the guard looks once a second

# Each row is what a client sets, one byte after the other; the first before it connects.
LIVES = (
    *((0x00, tos) for tos in (0x08, 0x10, 0x18, 0x02, 0x03)),  # the last two are ECN's: Linux keeps them for itself
    (0x48, 0x48),
    (0x48, 0x50),
    (0x48, 0x50, 0x48),  # and back
)
RESET_BY_LAST = (
    *((0x00, tos) for tos in (0x20, 0x28, 0x48, 0x68, 0x80, 0xB8, 0xE0)),
    (0x00, 0x10, 0x48),
    (0x48, 0x10),
    (0x48, 0x20),
    (0x48, 0x50, 0x10),
)
Row = tuple[int, ...]


@pytest.fixture(params=OBSERVERS)
def observer(request: pytest.FixtureRequest) -> str:
    name: str = request.param
    if name in WITHHOLDING:
        need_root()
    elif sys.platform != "linux":
        missing("needs NETLINK_SOCK_DIAG, which only Linux has")
    return name


@pytest.fixture(params=WITHHOLDING)
def withholding(request: pytest.FixtureRequest) -> str:
    need_root()
    name: str = request.param
    return name


def set_tos(sock: socket.socket, tos: int) -> None:
    sock.setsockopt(socket.IPPROTO_IP, socket.IP_TOS, tos)


def says(row: Row, step: int) -> bytes:
    return f"{'-'.join(f'{tos:02x}' for tos in row)} at {step}\n".encode()


def outcome(row: Row, dial: Callable[[int], socket.socket]) -> str:
    """Set the row's bytes, with an exchange after each; `lives` or the name of the error that ended it."""
    with dial(row[0]) as sock:
        for step, tos in enumerate(row):
            if step:
                set_tos(sock, tos)
            try:
                sock.sendall(says(row, step))
                read_exactly(sock, len(says(row, step)))
            except OSError as error:
                return f"{type(error).__name__} at {step}"
    return "lives"


def reset_after_s(row: Row, dial: Callable[[int], socket.socket]) -> float:
    """How long it took to connect and be reset by the row's last byte, as must be."""
    began_s = time.monotonic()
    assert outcome(row, dial) == f"ConnectionResetError at {len(row) - 1}"
    return time.monotonic() - began_s


def outcomes(rows: Iterable[Row], dial: Callable[[int], socket.socket]) -> dict[Row, str]:
    return {row: outcome(row, dial) for row in rows}


def expected(lives: Iterable[Row], reset: Iterable[Row] = ()) -> tuple[dict[Row, str], set[Received]]:
    """What the clients are to see, and what the server is."""
    seen = dict.fromkeys(lives, "lives") | {row: f"ConnectionResetError at {len(row) - 1}" for row in reset}
    arrived = {row: len(row) - (seen[row] != "lives") for row in seen}
    return seen, {Received(b"".join(says(row, step) for step in range(arrived[row])), "fin") for row in seen}


def dialler(nat: RunningRelay, front_end: str, origin: Origin) -> Callable[[int], socket.socket]:
    return lambda tos: connect(nat, front_end, origin.host, origin.port, tos=tos)


@pytest.mark.parametrize("front_end", FRONT_ENDS)
def test_another_precedence_than_the_syns_is_reset_and_nothing_else_is(
    backend: str, observer: str, front_end: str
) -> None:
    need_capture()
    recorder = Recorder()
    with Origin(recorder) as origin, serve_in_thread("vmware-fusion", backend=backend, observer=observer) as nat:
        with Capture(origin.port) as capture:
            seen = outcomes((*LIVES, *RESET_BY_LAST), dialler(nat, front_end, origin))
            received = set(recorder.take(len(seen)))
        assert (seen, received) == expected(LIVES, RESET_BY_LAST)
        assert [line for line in capture.lines() if line.startswith("> R")] == []
        for flow in range(1, len(seen) + 1):  # records may be held back until the flow's process is known
            nat.wait_for("flow-ended", flow=flow)
        reset = [record for record in nat.events if record.event == "rst-sent"]
        assert [record.fields["because"] for record in reset] == ["tos-reset"] * len(RESET_BY_LAST)


@pytest.mark.parametrize("profile", ["vmware-workstation-16", "transparent"])
def test_without_the_quirk_nothing_is_reset(backend: str, observer: str, profile: str) -> None:
    recorder = Recorder()
    rows = (*LIVES, *RESET_BY_LAST)
    with Origin(recorder) as origin, serve_in_thread(profile, backend=backend, observer=observer) as nat:
        for front_end in FRONT_ENDS:
            seen = outcomes(rows, dialler(nat, front_end, origin))
            assert (seen, set(recorder.take(len(rows)))) == expected(rows)


def test_an_ordinary_users_relay_resets_the_same(backend: str, tmp_path: Path) -> None:
    prefix = as_ordinary_user()
    tmp_path.chmod(0o777)
    recorder = Recorder()
    with (
        Origin(recorder) as origin,
        serve(tmp_path, "--forward", f"0:{origin.target}", "--backend", backend, prefix=prefix) as served,
    ):
        assert "CapEff:\t0000000000000004" in Path(f"/proc/{served.process.pid}/status").read_text()

        def dial(tos: int) -> socket.socket:
            sock = socket.socket()
            sock.settimeout(60)
            set_tos(sock, tos)
            sock.connect(("127.0.0.1", served.ports[1]))
            return sock

        seen = outcomes((*LIVES, *RESET_BY_LAST), dial)
        assert (seen, set(recorder.take(len(seen)))) == expected(LIVES, RESET_BY_LAST)
        assert "approximate tos-reset" in served.stderr()
        served.wait_for("flow-ended", because="tos-reset")


@pytest.mark.parametrize("front_end", FRONT_ENDS)
def test_the_server_sees_a_fin_about_105_ms_after_the_clients_reset(
    backend: str, observer: str, front_end: str
) -> None:
    need_capture()
    recorder = Recorder()

    def later_s() -> float:
        with (
            connect(nat, front_end, origin.host, origin.port) as sock,
            Capture(sock.getpeername()[1]) as internal,
            Capture(origin.port) as external,
        ):
            client_port = sock.getsockname()[1]
            sock.sendall(b"before")
            read_exactly(sock, 6)
            set_tos(sock, 0x48)
            assert is_reset_by(sock, b"after")
            assert recorder.take() == [Received(b"before", "fin")]
        reset = next(packet for packet in internal.packets if "R" in packet.flags)
        fin = next(packet for packet in external.packets if "F" in packet.flags)
        assert (reset.target_port, fin.target_port) == (client_port, origin.port)
        return fin.at_s - reset.at_s

    with Origin(recorder) as origin, serve_in_thread(backend=backend, observer=observer) as nat:
        assert 0.100 <= least(later_s, 0.250) <= 0.250


@pytest.mark.parametrize("front_end", FRONT_ENDS)
def test_the_segment_that_carries_the_change_is_not_acknowledged(
    backend: str, withholding: str, front_end: str
) -> None:
    need_capture()

    def take_in(connection: socket.socket) -> None:
        assert read_to_end(connection) == b"before"

    with (
        Origin(take_in) as origin,
        serve_in_thread(backend=backend, observer=withholding) as nat,
        connect(nat, front_end, origin.host, origin.port) as sock,
        Capture(sock.getpeername()[1]) as capture,
    ):
        nat.wait_for("flow-connected")
        sock.sendall(b"before")
        wait_until_acknowledged(sock)
        set_tos(sock, 0x48)
        assert is_reset_by(sock, b"after")
    offender = next(packet for packet in capture.packets if packet.tos == 0x48)
    answers = [packet for packet in capture.packets if packet.target_port == offender.source_port]
    assert offender.data_bytes == len(b"after")
    assert {packet.ack - offender.seq for packet in answers} == {0}


def test_what_was_acknowledged_before_the_change_reaches_a_server_that_is_slow(backend: str, withholding: str) -> None:
    may_read = threading.Event()
    ended: list[bytes] = []

    def read_late(connection: socket.socket) -> None:
        assert may_read.wait(60)
        ended.append(read_to_end(connection))

    before = bytes(range(256)) * 4096
    with serve_in_thread(backend=backend, observer=withholding) as nat:
        with Origin(read_late) as origin, connect(nat, "forward", origin.host, origin.port) as sock:
            sock.sendall(before)
            wait_until_acknowledged(sock)
            set_tos(sock, 0x48)
            assert is_reset_by(sock, b"never")
            may_read.set()
            nat.wait_for("flow-ended", because="tos-reset")
        assert ended == [before]


@pytest.mark.parametrize("front_end", FRONT_ENDS)
def test_a_client_that_sets_the_byte_and_only_receives_is_reset_by_its_ack(
    backend: str, observer: str, front_end: str
) -> None:
    may_send = threading.Event()

    def send_on_cue(connection: socket.socket) -> None:
        connection.sendall(b"first")
        assert may_send.wait(60)
        connection.sendall(b"second")
        assert connection.recv(1) == b""

    with Origin(send_on_cue) as origin, serve_in_thread(backend=backend, observer=observer) as nat:
        with connect(nat, front_end, origin.host, origin.port) as sock:
            read_exactly(sock, 5)
            set_tos(sock, 0x48)
            may_send.set()
            assert read_until_over(sock)[1] == "rst"
        changed = nat.wait_for("tos-changed", syn=0, new=0x48)
        nat.wait_for("fin-sent", side="external", because="tos-reset")
        assert changed.flow is not None


@pytest.mark.parametrize("front_end", FRONT_ENDS)
@pytest.mark.parametrize("last", [0x20, 0x10])
def test_a_marked_syn_and_another_mark_later_is_reset_at_once_every_time(
    backend: str, withholding: str, front_end: str, last: int
) -> None:
    with Origin(Recorder()) as origin, serve_in_thread(backend=backend, observer=withholding) as nat:
        took_s = [reset_after_s((0x48, 0x48, last), dialler(nat, front_end, origin)) for _ in range(20)]
    assert statistics.median(took_s) < AT_ONCE_S


def test_a_marked_syn_is_the_reference_from_a_relays_very_first_flow_on(backend: str, withholding: str) -> None:
    took_s = []
    for _ in range(20):
        with Origin(Recorder()) as origin, serve_in_thread(backend=backend, observer=withholding) as nat:
            took_s.append(reset_after_s((0x48, 0x48, 0x20), dialler(nat, "forward", origin)))
    assert statistics.median(took_s) < AT_ONCE_S


def test_a_byte_changed_while_the_dial_is_pending_is_an_offence_too(backend: str, observer: str) -> None:
    with Origin(Recorder()) as origin, serve_in_thread(backend=backend, observer=observer) as nat:
        with connect(nat, "forward", origin.host, origin.port) as sock:
            set_tos(sock, 0x48)
            assert is_reset_by(sock, b"at once")
        nat.wait_for("tos-changed", new=0x48)


def answer_requests(connection: socket.socket) -> None:
    """Be a web server with nothing to tell."""
    said = b""
    while data := connection.recv(4096):
        said += data
        while b"\r\n\r\n" in said:
            said = said.partition(b"\r\n\r\n")[2]
            connection.sendall(b"HTTP/1.1 204 No Content\r\n\r\n")


def test_a_connection_that_goes_on_to_a_flow_without_the_quirk_is_let_be(backend: str, withholding: str) -> None:
    with (
        Origin(answer_requests) as one,
        Origin(answer_requests) as other,
        serve_in_thread("vmware-fusion", backend=backend, observer=withholding) as nat,
        socket.create_connection((nat.address.host, nat.address.port), timeout=60) as sock,
    ):

        def get(origin: Origin) -> bytes:
            sock.sendall(f"GET http://{origin.target}/ HTTP/1.1\r\nHost: {origin.target}\r\n\r\n".encode())
            return sock.recv(4096)

        assert get(one).startswith(b"HTTP/1.1 204")
        nat.set(tos_reset={"enabled": False})
        assert get(other).startswith(b"HTTP/1.1 204")
        set_tos(sock, 0x48)
        assert get(other).startswith(b"HTTP/1.1 204")
