"""`relay run`: keepalive. Behind VMware's NAT a dead server looks alive; end to end, the guest's own kernel notices."""

from __future__ import annotations

import errno
import itertools
import json
import socket
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from relay.observe.kernel.bpf import drop, program
from support.behind_nat import BACKENDS, HOST, run_inside
from support.origins import Origin

pytestmark = [
    pytest.mark.system,
    pytest.mark.timeout(120),
    pytest.mark.skipif(sys.platform != "linux", reason="namespaces are Linux's"),
]

IDLE_S, INTERVAL_S, COUNT = 1, 1, 3
LIMIT_S = IDLE_S + INTERVAL_S * COUNT
HELD_S = LIMIT_S + 2.5  # amid two probes
_WITHIN_S = 90.0  # with what it takes to start
PROFILES = ("transparent", "vmware-fusion")
_SO_ATTACH_FILTER = 26  # asm-generic/socket.h
_DROP_EVERYTHING = program(drop())

# Prints what became of the connection, when, and how much its kernel has heard from the server meanwhile.
GUEST = f"""
import json, socket, struct, sys, time
sock = socket.create_connection((sys.argv[1], int(sys.argv[2])))
assert sock.recv(5) == b"hello"
sock.sendall(b"frost" if sys.argv[3] == "dies" else b"hello")
time.sleep(0.3)
for name, value in zip(("IDLE", "INTVL", "CNT"), {IDLE_S, INTERVAL_S, COUNT}):
    sock.setsockopt(socket.IPPROTO_TCP, getattr(socket, "TCP_KEEP" + name), value)
sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
segments = lambda: struct.unpack_from("=140xI", sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 160))[0]
heard, began_s, error = segments(), time.monotonic(), 0
sock.settimeout({HELD_S})
try:
    sock.recv(1)
except TimeoutError as failure:
    error = failure.errno or 0
except OSError as failure:
    error = failure.errno
after_s = time.monotonic() - began_s
sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 0)  # no probe is under way when they are counted
socket.create_connection((sys.argv[1], int(sys.argv[2]))).sendall(b"ended")
print(json.dumps({{"error": error, "after_s": after_s, "heard": segments() - heard}}))
"""


def hold(directory: Path, profile: str, backend: str, server: str) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """What the guest found, and the relay's events; the server `dies`, or `lives`."""
    over = threading.Event()

    def handle(connection: socket.socket) -> None:
        connection.sendall(b"hello")
        match connection.recv(5):
            case b"frost":
                connection.setsockopt(socket.SOL_SOCKET, _SO_ATTACH_FILTER, _DROP_EVERYTHING.fprog)
                over.wait(_WITHIN_S)
            case b"ended":
                over.set()
            case _:
                connection.recv(1)  # nothing until the guest ends it

    directory.mkdir()
    with Origin(handle) as origin:
        command = [sys.executable, "-c", GUEST, HOST, str(origin.port), server]
        options = ("--profile", profile, "--backend", backend)
        done, events = run_inside(directory, command, *options, timeout_s=_WITHIN_S)
        over.set()
    assert (done.returncode, done.stderr) == (0, "")
    return json.loads(done.stdout), events


Case = tuple[str, str, str]


@pytest.fixture(scope="module")
def held(tmp_path_factory: pytest.TempPathFactory) -> dict[Case, tuple[dict[str, Any], list[dict[str, Any]]]]:
    """Every case, at the same time: each of them only waits."""
    cases = [*itertools.product(PROFILES, BACKENDS, ("dies",)), *(("transparent", each, "lives") for each in BACKENDS)]
    directory = tmp_path_factory.mktemp("held")
    with ThreadPoolExecutor(len(cases)) as pool:
        done = pool.map(lambda case: hold(directory / "-".join(case), *case), cases)
        return dict(zip(cases, done, strict=True))


@pytest.mark.parametrize("backend", BACKENDS)
def test_end_to_end_the_guest_finds_a_dead_server_by_its_own_probes(held: Any, backend: str) -> None:
    found, events = held["transparent", backend, "dies"]
    assert found["error"] == errno.ETIMEDOUT
    assert LIMIT_S - 0.5 <= found["after_s"] < HELD_S
    assert found["heard"] == 0, "no probe was answered"
    names = [each["event"] for each in events]
    assert names.count("probe-sent") == names.count("keepalive-probe") == COUNT
    assert "probe-answered" not in names
    assert "timed-out" not in names, "the relay itself gives no verdict"


@pytest.mark.parametrize("backend", BACKENDS)
def test_end_to_end_a_server_that_is_there_answers_each_probe(held: Any, backend: str) -> None:
    found, events = held["transparent", backend, "lives"]
    assert found["error"] == 0
    names = [each["event"] for each in events]
    assert found["heard"] == names.count("probe-answered") == names.count("keepalive-probe") >= HELD_S - 2


@pytest.mark.parametrize("backend", BACKENDS)
def test_vmwares_nat_answers_itself_and_asks_no_server(held: Any, backend: str) -> None:
    found, events = held["vmware-fusion", backend, "dies"]
    assert found["error"] == 0
    names = [each["event"] for each in events]
    assert found["heard"] == names.count("keepalive-probe") >= HELD_S - 2
    assert not {"probe-sent", "probe-answered"} & set(names)
