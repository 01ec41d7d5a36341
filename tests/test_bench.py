"""The benchmark measures what it says, and gives no figure where it cannot."""

from __future__ import annotations

import contextlib
import json
import os
import re
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from support.bench_package import BENCH, import_bench
from support.capabilities import need_program, need_root

if sys.platform != "linux":
    pytest.skip("it reads /proc, and its ends are epoll's", allow_module_level=True)
import_bench()
from bench import process  # noqa: E402
from bench.ends import Ends, LoadFailed, open_ends  # noqa: E402
from bench.peers import PEERS  # noqa: E402
from bench.through import NotUp, free_ports, spawned, wait_until_up  # noqa: E402
from bench.web import open_web  # noqa: E402

pytestmark = pytest.mark.system

_DEADLINE_S = 60.0


@pytest.fixture(scope="module")
def ends(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ends]:
    need_program("cc")
    with open_ends(tmp_path_factory.mktemp("ends")) as ends:
        yield ends


@contextlib.contextmanager
def server(answer: Callable[[socket.socket], object]) -> Iterator[int]:
    """The port of something that answers one connection as it likes."""

    def serve() -> None:
        connection, _ = listener.accept()
        with connection, contextlib.suppress(ConnectionError):
            connection.settimeout(_DEADLINE_S)
            answer(connection)

    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.settimeout(_DEADLINE_S)
        thread = threading.Thread(target=serve)
        thread.start()
        yield listener.getsockname()[1]
        thread.join(_DEADLINE_S)


def test_a_quick_run_has_every_figure_of_every_way(tmp_path: Path) -> None:
    for program in ("cc", "haproxy", "microsocks"):
        need_program(program)
    ways = ("direct", "HAProxy", "microsocks", "vmware-fusion, asyncio")
    command = [sys.executable, "-m", "bench", "--quick", "--rounds", "1", "--json", str(tmp_path / "result.json")]
    command += ["--through", *ways]
    command += ["--only", "bulk-up-1", "bulk-down-8", "forward-64", "socks5-1", "ping-pong", "idle-50"]
    said = subprocess.run(command, cwd=BENCH.parent, capture_output=True, text=True, check=True, timeout=60).stdout
    values: dict[str, Any] = json.loads((tmp_path / "result.json").read_text())
    assert values["failures"] == []
    measured = {(value["quantity"], value["through"]) for value in values["values"]}
    everywhere = {(quantity, way) for quantity in ("bulk-up-1", "bulk-down-8", "ping-pong", "idle-50") for way in ways}
    assert everywhere <= measured
    forwards = {(quantity, way) for quantity, way in measured if quantity == "forward-64"}
    assert forwards == {("forward-64", way) for way in ("direct", "HAProxy", "vmware-fusion, asyncio")}
    assert {way for quantity, way in measured if quantity == "socks5-1"} == {"microsocks", "vmware-fusion, asyncio"}
    assert all(min(value["rounds"]) > 0 for value in values["values"] if value["figure"] in {"gib_per_s", "per_s"})
    assert "vmware-fusion, asyncio: tos-reset" in said
    assert "### Aims" not in said, "figures so small reach nothing and miss nothing"


def test_plain_http_has_every_figure(tmp_path: Path) -> None:
    for program in ("cc", "nginx", "wrk", "ab"):
        need_program(program)
    result = tmp_path / "result.json"
    command = [sys.executable, "-m", "bench", "--quick", "--rounds", "1", "--json", str(result)]
    command += ["--only", "http-16", "http10-16", "http-chunked-4", "--through", "vmware-fusion, asyncio"]
    subprocess.run(command, cwd=BENCH.parent, capture_output=True, text=True, check=True, timeout=60)
    values: dict[str, Any] = json.loads(result.read_text())
    assert values["failures"] == []
    found = {(value["quantity"], value["figure"]): value["rounds"][0] for value in values["values"]}
    assert found["http-16", "per_s"] > 0
    assert found["http10-16", "per_s"] > 0
    assert found["http-chunked-4", "gib_per_s"] > 0


def test_a_load_of_plain_http_that_is_not_answered_with_200_gives_no_figure(tmp_path: Path) -> None:
    for program in ("nginx", "wrk", "ab"):
        need_program(program)
    with open_web(tmp_path) as web:
        with pytest.raises(LoadFailed, match=r"wrk: \d+ errors"):
            web.wrk(web.origin_port, 1, 1, "/nosuch")
        with server(_says(*[b"HTTP/1.0 502 Bad Gateway\r\n\r\n"])) as port, pytest.raises(LoadFailed, match="ab"):
            web.ab(port, 1, 1, keep=False)


@pytest.mark.parametrize(
    ("quantity", "first", "second"),
    [("bulk-up", 3, 1_000_001), ("bulk-down", 3, 1_000_001), ("connects", 4, 30), ("ping-pong", 64, 30)],
)
def test_every_load_runs_against_the_origin(ends: Ends, quantity: str, first: int, second: int) -> None:
    figures = ends.measure("forward", ends.origin_port, quantity, first, second)
    assert figures["took_s"] > 0
    assert figures.get("bytes", 999_999) == 999_999  # split evenly among three flows


def test_idle_flows_are_all_there_until_they_are_ended(ends: Ends) -> None:
    open_before = len(os.listdir(f"/proc/{ends.origin_pid}/fd"))
    with ends.idle_flows("forward", ends.origin_port, 100):
        assert len(os.listdir(f"/proc/{ends.origin_pid}/fd")) == open_before + 100


def _says(*replies: bytes) -> Callable[[socket.socket], object]:
    def answer(connection: socket.socket) -> None:
        for reply in replies:
            connection.recv(4096)
            connection.sendall(reply)

    return answer


@pytest.mark.parametrize(
    ("via", "quantity", "replies", "complaint"),
    [
        ("forward", "connects", [b"o"], "another byte came back"),
        ("forward", "connects", [b"OO"], "more came back"),
        ("forward", "bulk-down", [bytes(999)], "bytes are missing"),
        ("forward", "bulk-down", [bytes(1001)], "too many bytes came"),
        ("forward", "bulk-up", [(999).to_bytes(8, "little")], "the origin got another number of bytes"),
        ("socks5", "connects", [b"\5\xff"], "the SOCKS method was refused"),
        ("socks5", "connects", [b"\5\0", b"\5\5\0\1\0\0\0\0\0\0"], "the SOCKS request was refused"),
        ("connect", "ping-pong", [b"HTTP/1.1 502 Bad Gateway\r\n\r\n"], "CONNECT was refused"),
        ("connect", "ping-pong", [b"HTTP/1.1 200 OK\r\n"], "ended in the handshake"),
    ],
)
def test_what_is_not_as_it_should_be_gives_no_figure(
    ends: Ends, via: Any, quantity: str, replies: list[bytes], complaint: str
) -> None:
    second = 1000 if quantity.startswith("bulk") else 1
    with server(_says(*replies)) as port, pytest.raises(LoadFailed, match=complaint):
        ends.measure(via, port, quantity, 1, second)


def test_cpu_time_counts_children_that_are_gone_and_memory_those_that_live(tmp_path: Path) -> None:
    busy = "i=0; while [ $i -lt 100000 ]; do i=$((i+1)); done"
    large = "import sys; kept = b'x' * 30_000_000; print('ready', flush=True); sys.stdin.read()"
    script = f"sh -c '{busy}'; sleep 60 | {sys.executable} -c \"{large}\"; wait"
    with spawned(["sh", "-c", script], tmp_path) as shell:
        deadline = threading.Event()
        for _ in range(1000):
            if "ready" in (tmp_path / "output").read_text():
                break
            deadline.wait(0.01)
        own, *children = process.family(shell.pid)
        assert own == shell.pid
        assert process.cpu_s(shell.pid) - sum(process.cpu_s(child) for child in children) >= 0.02
        assert process.resident_kib(shell.pid) > 30_000


def test_a_proxy_that_ends_at_its_start_is_reported_with_its_output(tmp_path: Path) -> None:
    script = ["sh", "-c", "echo wrong option; exit 1"]
    with spawned(script, tmp_path) as shell, pytest.raises(NotUp, match="it ended at its start: wrong option"):
        wait_until_up(shell, free_ports(1), tmp_path)


def test_a_missing_peer_is_named_with_the_way_to_get_it(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr("bench.through.ADMIN_PATH", str(tmp_path))
    monkeypatch.setattr("importlib.util.find_spec", lambda _: None)
    told = [peer.missing() for peer in PEERS]
    assert told[0] is None  # the direct way
    assert "HAProxy is not here: apt-get install haproxy" in told
    assert "dante is not here: apt-get install dante-server" in told
    assert any(text and text.startswith("3proxy is not here: not in Debian 12") for text in told)
    assert "proxy.py is not here: pip install proxy.py, or '.[bench]' for all of them" in told


_FORKS_AND_WORKS = """
import os, time
end_s = time.monotonic() + 2
while time.monotonic() < end_s:
    if not os.fork():
        while time.process_time() < 0.03:
            pass
        os._exit(0)
    os.wait()
"""


def test_the_cpu_time_of_a_process_that_forks_never_falls() -> None:
    with subprocess.Popen([sys.executable, "-c", _FORKS_AND_WORKS]) as forking:
        used_s = 0.0
        while forking.poll() is None:
            before_s, used_s = used_s, process.cpu_s(forking.pid)
            assert used_s >= before_s
    assert used_s > 1


@pytest.mark.parametrize(("option", "one"), [("--through", "'vmware-fusion, asyncio'"), ("--only", "'ping-pong'")])
def test_a_name_that_nothing_has_is_a_mistake_and_those_there_are_stand_in_quotes(option: str, one: str) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "bench", option, "nosuch"],
        capture_output=True,
        text=True,
        check=False,
        cwd=BENCH.parent,
    )
    assert (done.returncode, done.stdout) == (2, "")
    complaint = done.stderr.splitlines()[-1]
    assert f"{option}: nothing is called 'nosuch'; there are: '" in complaint
    assert one in complaint


def test_a_pause_comes_between_a_bytes_return_and_the_flows_next_one(ends: Ends, tmp_path: Path) -> None:
    arrivals = tmp_path / "arrivals"
    subprocess.run(["cc", "-O2", "-o", str(arrivals), str(BENCH / "arrivals.c")], check=True)
    flows, watched_ms, pause_ms = 3, 2000, 100
    command = [str(arrivals), "127.0.0.1", str(ends.origin_port), "echo", *map(str, (flows, watched_ms, 0, pause_ms))]
    said = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60).stdout
    assert 1 <= json.loads(said)["count"] <= flows * watched_ms / pause_ms


def test_shapes_are_measured_and_every_byte_is_compared() -> None:
    for program in ("cc", "unshare", "tc"):
        need_program(program)
    need_root()
    command = [sys.executable, "-m", "bench.shapes", "--rounds", "1", "--backends", "asyncio", "--seconds", "0.3"]
    command += ["--flows", "1", "5", "--exchanges", "3", "--rates", "1e6", "--changes", "3", "--bulk", "32"]
    done = subprocess.run(
        [*command, "--bytes", "50000"], cwd=BENCH.parent, capture_output=True, text=True, check=False, timeout=90
    )
    assert done.returncode == 0, done.stderr
    aims = {line.split(" | ")[0].strip("| "): line for line in done.stdout.partition("### Aims")[2].splitlines()}
    for title in ("latency, 1 flows: p99", "bandwidth, 1 MB/s", "bulk up, latency, 1 ms", "3 changes: p99"):
        assert re.search(r"\| -?\d[\d.]* \| (yes|no) \|$", aims[title]), aims
    assert "| relay, asyncio | 32 | none |" in done.stdout
    assert "veth and tbf" in done.stdout


def test_wire_mode_is_measured_beside_what_is_here() -> None:
    for program in ("iperf3", "slirp4netns", "unshare", "nsenter"):
        need_program(program)
    need_root()
    command = [sys.executable, "-m", "bench.wire", "--rounds", "1", "--seconds", "1", "--connects", "64"]
    ours = "relay, vmware-fusion, asyncio, offload auto"
    done = subprocess.run(
        [*command, "--idle", "50", "--watch", "0.2", "--only", "slirp4netns", ours],
        cwd=BENCH.parent,
        capture_output=True,
        text=True,
        check=False,
        timeout=90,
    )
    assert done.returncode == 0, done.stderr
    tables = {title: body for title, _, body in (each.partition("\n") for each in done.stdout.split("### ")[1:])}
    rows = {
        title: [line.strip("| ").split(" | ") for line in body.splitlines() if line.startswith("| ")][2:]
        for title, body in tables.items()
    }
    assert [row[0] for row in rows["Bulk and connects"]] == ["slirp4netns", ours]
    for row in rows["Bulk and connects"]:
        assert all(float(cell.partition(" ")[0]) > 0 for cell in row[1::3])
    assert [row[0] for row in rows["Idle flows"]] == [ours]
    assert [row[0] for row in rows["A segment of 1460 bytes in, its ACK out"]] == ["vmware-fusion", "transparent"]
    assert {row[-1] for row in rows["Aims"]} <= {"yes", "no"}
