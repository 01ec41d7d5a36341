"""Faults of one direction on kernel sockets and in wire mode: what they take, and that no byte is lost on the way."""

from __future__ import annotations

import contextlib
import hashlib
import random
import socket
import statistics
import sys
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from relay.net.kernel_leg import KernelLeg
from relay.net.pipe import Pipe
from relay.net.pump import BULK_BYTES
from relay.testing import serve_in_thread
from support.behind_nat import BACKENDS, HOST, run_inside
from support.measuring import least
from support.origins import Origin, echo, read_exactly

pytestmark = pytest.mark.system

_ROUNDS = 20


def pings(address: tuple[str, int], rounds: int = _ROUNDS) -> list[float]:
    """How long a byte takes there and back, in s."""
    took = []
    with socket.create_connection(address) as app:
        app.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for _ in range(rounds):
            began_s = time.monotonic()
            app.sendall(b"x")
            read_exactly(app, 1)
            took.append(time.monotonic() - began_s)
    return took


@pytest.mark.parametrize(("direction", "each_s"), [("to-server", 0.05), ("to-app", 0.05), ("both", 0.1)])
def test_a_byte_takes_the_latency_longer(backend: str, direction: str, each_s: float) -> None:
    settings = {"delay_s": 0.05, "direction": direction}
    took: list[float] = []

    def median_s() -> float:
        latest = pings(nat.forward_addresses[0])
        took.extend(latest)
        return statistics.median(latest)

    with (
        Origin(echo) as origin,
        serve_in_thread("transparent", backend=backend, forwards=[f"0:{origin.target}"], latency=settings) as nat,
    ):
        assert least(median_s, each_s + 0.02) < each_s + 0.02
    assert min(took) >= each_s


def test_a_rate_is_kept(backend: str) -> None:
    rate, size = 2_000_000, 1_000_000
    settings = {"rate_bytes_per_s": rate, "direction": "to-server"}

    def took_s() -> float:
        with socket.create_connection(nat.forward_addresses[0]) as app:
            began_s = time.monotonic()
            app.sendall(bytes(size))
            app.shutdown(socket.SHUT_WR)
            assert read_exactly(app, 32) == hashlib.sha256(bytes(size)).digest()
            return time.monotonic() - began_s

    with (
        Origin(lambda sock: sock.sendall(digest_of(sock))) as origin,
        serve_in_thread("transparent", backend=backend, forwards=[f"0:{origin.target}"], bandwidth=settings) as nat,
    ):
        assert least(took_s, 1.15 * size / rate) == pytest.approx(size / rate, rel=0.15)


def digest_of(sock: socket.socket) -> bytes:
    """The hash of all that comes until the FIN."""
    digest = hashlib.sha256()
    while data := sock.recv(1 << 16):
        digest.update(data)
    return digest.digest()


def send_all(sock: socket.socket, payload: bytes) -> None:
    sock.sendall(payload)
    sock.shutdown(socket.SHUT_WR)


SHAPES: dict[str, dict[str, Any]] = {
    "latency": {"latency": {"delay_s": 0.02, "jitter_s": 0.02}},
    "bandwidth": {"bandwidth": {"rate_bytes_per_s": 20_000_000}},
    "slicer": {"slicer": {"slice_bytes": 999, "pause_s": 0.0}},
    "slow-close": {"slow_close": {"delay_s": 0.2}},
    "all": {
        "latency": {"delay_s": 0.02, "jitter_s": 0.02},
        "bandwidth": {"rate_bytes_per_s": 20_000_000},
        "slicer": {"slice_bytes": 9_999, "pause_s": 0.0001},
        "slow_close": {"delay_s": 0.1},
    },
}


@pytest.mark.parametrize("shape", SHAPES)
def test_every_byte_arrives_under_every_shape_and_both_half_closes(backend: str, shape: str) -> None:
    payload = random.Random(shape).randbytes(2_000_000)  # noqa: S311 - any bytes will do

    def answer(sock: socket.socket) -> None:
        digest = digest_of(sock)
        sock.sendall(digest + payload)

    with (
        Origin(answer) as origin,
        serve_in_thread("transparent", backend=backend, forwards=[f"0:{origin.target}"], **SHAPES[shape]) as nat,
        socket.create_connection(nat.forward_addresses[0], timeout=20) as app,
    ):
        sender = threading.Thread(target=send_all, args=(app, payload))
        sender.start()
        assert read_exactly(app, 32) == hashlib.sha256(payload).digest()
        assert read_exactly(app, len(payload)) == payload
        assert app.recv(1) == b""
        sender.join()


def test_limit_data_lets_so_many_bytes_pass(backend: str) -> None:
    with (
        Origin(lambda sock: sock.sendall(bytes(100_000))) as origin,
        serve_in_thread(
            "transparent", backend=backend, forwards=[f"0:{origin.target}"], limit_data={"after_bytes": 12_345}
        ) as nat,
        socket.create_connection(nat.forward_addresses[0], timeout=20) as app,
    ):
        got = 0
        while data := app.recv(1 << 16):
            got += len(data)
        assert got == 12_345
        assert nat.wait_for("flow-ended").fields["internal_because"] == "limit-data"


def test_only_connections_that_the_conditions_fit_are_late(backend: str) -> None:
    with Origin(echo) as far, Origin(echo) as near:
        when = {"port": far.port, "process": ["python*", "pytest*"], "first": 1}
        targets = [f"0:{origin.target}" for origin in (far, near)]
        with serve_in_thread(
            "transparent", backend=backend, forwards=targets, latency={"delay_s": 0.1, "when": when}
        ) as nat:
            took = [min(pings(address, 3)) for address in [*nat.forward_addresses, nat.forward_addresses[0]]]
            (process,) = {record.process[1] for record in nat.events if record.process is not None}
    assert process.startswith(("python", "pytest"))
    assert took[0] >= 0.2 > max(took[1:])


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux has splice")
def test_bulk_is_spliced_where_the_conditions_do_not_fit(backend: str, monkeypatch: pytest.MonkeyPatch) -> None:
    splice, spliced = KernelLeg.splice_into, [0]

    def counting(leg: KernelLeg, pipe: Pipe) -> int:
        count = splice(leg, pipe)
        spliced[0] += max(0, count)
        return count

    monkeypatch.setattr(KernelLeg, "splice_into", counting)
    size, latency = 3 * BULK_BYTES, {"delay_s": 0.01, "when": {"nth": 2}}
    with (
        Origin(lambda sock: sock.sendall(digest_of(sock))) as origin,
        serve_in_thread("transparent", backend=backend, forwards=[f"0:{origin.target}"], latency=latency) as nat,
    ):
        found = []
        for _ in range(2):
            with socket.create_connection(nat.forward_addresses[0], timeout=20) as app:
                send_all(app, bytes(size))
                assert read_exactly(app, 32) == hashlib.sha256(bytes(size)).digest()
            found.append(spliced[0])
            spliced[0] = 0
    assert found[0] > BULK_BYTES
    assert found[1] == 0, "a shaped flow is copied"


@pytest.mark.parametrize("how", ["rst", "fin", "stall"])
def test_a_connection_is_cut_at_its_second_request(backend: str, how: str) -> None:
    def answer_all(sock: socket.socket) -> None:
        with contextlib.suppress(ConnectionError):
            while data := sock.recv(100):
                sock.sendall(data)

    with (
        Origin(answer_all) as origin,
        serve_in_thread(
            "transparent", backend=backend, forwards=[f"0:{origin.target}"], cut={"at_request": 2, "how": how}
        ) as nat,
        socket.create_connection(nat.forward_addresses[0], timeout=20) as app,
    ):
        app.sendall(b"first")
        assert read_exactly(app, 5) == b"first"
        app.sendall(b"second")
        nat.wait_for("note", because="cut")
        match how:
            case "rst":
                with pytest.raises(ConnectionResetError):
                    app.recv(100)
            case "fin":
                assert app.recv(100) == b""
            case _:
                app.settimeout(0.1)
                with pytest.raises(TimeoutError):
                    app.recv(100)


@pytest.mark.parametrize("backend", BACKENDS)
def test_latency_is_the_same_in_wire_mode(backend: str, tmp_path: Path) -> None:
    with Origin(echo) as origin:
        program = (
            "import socket, time\n"
            f"s = socket.create_connection(({HOST!r}, {origin.port}))\n"
            "def took_s():\n    t = time.monotonic(); s.sendall(b'x'); s.recv(1); return time.monotonic() - t\n"
            "found_s = [took_s()]\n"
            "while min(found_s) >= 0.6 and len(found_s) < 8: found_s.append(took_s())\n"
            "print(min(found_s))\n"
        )
        options = ("--profile", "transparent", "--backend", backend, "--set", "latency.delay_s=0.2")
        done, _ = run_inside(tmp_path, ["python3", "-c", program], *options)
    assert 0.4 <= float(done.stdout) < 0.6, done.stderr
