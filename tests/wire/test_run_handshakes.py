"""Handshakes behind the NAT: very many that are never completed, refusals, and servers that do not answer."""

from __future__ import annotations

import json
import os
import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from relay.wire.packet import parse_ipv4
from relay.wire.segment import ACK, RST, SYN, parse_segment
from support.behind_nat import BACKENDS, HOST, run_inside
from support.capabilities import need_program
from support.masses import mass_origin
from support.namespaces import in_own_network
from support.origins import Origin, Recorder, refusing_port
from support.programs import run, with_few_descriptors
from support.slow_network import FAR, SlowNetwork

pytestmark = [pytest.mark.system, pytest.mark.skipif(sys.platform != "linux", reason="namespaces are Linux's")]

SOAK = bool(os.environ.get("RELAY_SOAK"))
HALF_OPEN = 10_000 if SOAK else 1000
AT_ONCE_S = 4.0
"""The device's short queue may lose two SYNs on a busy host; the guest sends them again after 1 s and 2 s."""


@pytest.fixture(autouse=True)
def _programs_find_these_tests(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parents[1]))


def flood(directory: Path, count: int, *options: str, prefix: tuple[str, ...] = ()) -> dict[str, Any]:
    """What a flood of so many SYNs came to."""
    with mass_origin() as (_, port):
        command = [sys.executable, "-m", "support.syn_flood", HOST, str(port), str(count)]
        done, events = run_inside(directory, command, *options, prefix=prefix, timeout_s=100)
    assert (done.returncode, done.stderr) == (0, "")
    assert [each for each in events if each["event"] == "fault"] == []
    told: dict[str, Any] = json.loads(done.stdout)
    return told


@pytest.mark.soak
@pytest.mark.parametrize("backend", BACKENDS)
def test_half_open_connections_and_their_resets_keep_no_other_program_out(tmp_path: Path, backend: str) -> None:
    told = flood(tmp_path, HALF_OPEN, "--backend", backend)
    assert (told["answered"], told["reset"]) == (HALF_OPEN, 0)
    assert max(told["connect_s"]) < AT_ONCE_S, told


@pytest.mark.parametrize("backend", BACKENDS)
def test_half_open_connections_that_need_all_descriptors_make_room_the_oldest_first(
    tmp_path: Path, backend: str
) -> None:
    told = flood(tmp_path, 1000, "--backend", backend, prefix=with_few_descriptors(600))
    assert told["answered"] == 1000
    assert told["reset"] >= 700, "half of the descriptors are for half-open connections"
    assert max(told["connect_s"]) < AT_ONCE_S, told


def connect_and_watch(
    directory: Path, server: str, port: int, *options: str
) -> tuple[str, float, list[tuple[float, int, bool]]]:
    """What a connect comes to, after how many seconds, and the segments: when, their flags, and whether the guest's."""
    command = [sys.executable, "-m", "support.watched_connect", server, str(port), str(directory / "frames")]
    done, _ = run_inside(directory, command, *options)
    assert (done.returncode, done.stderr) == (0, "")
    outcome, took_s = done.stdout.split()
    segments = []
    for at_s, packet in json.loads((directory / "frames").read_text()):
        ip = parse_ipv4(memoryview(bytes.fromhex(packet)))
        parsed = parse_segment(ip.payload) if ip is not None else None
        if parsed is not None:
            segments.append((at_s, parsed[2].flags, parsed[1] == port))
    return outcome, float(took_s), segments


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_refusal_is_a_reset_at_once(tmp_path: Path, backend: str) -> None:
    with refusing_port() as port:
        outcome, took_s, segments = connect_and_watch(tmp_path, HOST, port, "--backend", backend)
    assert outcome == "ECONNREFUSED"
    assert took_s < 1, "the guest has not sent its SYN again"
    assert [(flags, guests) for _, flags, guests in segments] == [(SYN, True), (RST | ACK, False)]


def in_dead_network(function: Callable[[], Any], *settings: str) -> Any:
    """Call it where the network beyond the host loses everything; `settings` are the kernel's, as sysctl has them."""

    def call() -> Any:
        for setting in settings:
            done = run(need_program("sysctl"), "-qw", setting)
            assert done.returncode == 0, done.stderr
        with SlowNetwork(0, dead=True):
            return function()

    return in_own_network(call)


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_server_that_does_not_answer_is_silence_until_the_relays_limit_and_then_a_reset(
    tmp_path: Path, backend: str
) -> None:
    options = ("--backend", backend, "--connect-timeout", "1.5")
    outcome, took_s, segments = in_dead_network(lambda: connect_and_watch(tmp_path, FAR, 80, *options))
    assert outcome == "ECONNREFUSED"
    assert 1.5 <= took_s < 3, "before the guest's third SYN"
    assert [(flags, guests) for _, flags, guests in segments] == [(SYN, True), (SYN, True), (RST | ACK, False)]


def test_a_server_that_does_not_answer_is_silence_until_the_host_gives_up(tmp_path: Path) -> None:
    """The host sends its SYN twice, and waits for an answer for 1 s and then for 2 s."""
    once_more = "net.ipv4.tcp_syn_retries=1"
    outcome, took_s, segments = in_dead_network(lambda: connect_and_watch(tmp_path, FAR, 80), once_more)
    assert outcome == "ECONNREFUSED"
    assert 2.9 < took_s < 7, "before the guest's fourth SYN"
    *silence, (_, last, last_is_guests) = segments
    assert len(silence) > 1
    assert {(flags, guests) for _, flags, guests in silence} == {(SYN, True)}
    assert (last, last_is_guests) == (RST | ACK, False)


# Asks a server that never answers for very many connections, and another one for a single one.
ASK_A_HOLE = """
import sys, time
from relay.wire.segment import SYN, Segment
from support.raw_guest import RawGuest
from support.syn_flood import connect
hole, server, port, count = sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4])
with RawGuest(hole) as guest:
    for number in range(count):
        guest.send(10_000 + number, 80, Segment(number, 0, SYN, 64_240, mss=1460))
        if number % 50 == 0:
            time.sleep(0.05)  # nothing answers them, and the device's queue is short
    print(connect(server, port))
"""


@pytest.mark.parametrize("backend", BACKENDS)
def test_dials_that_are_never_answered_make_room_the_oldest_first(tmp_path: Path, backend: str) -> None:
    def play() -> tuple[float, list[dict[str, Any]]]:
        with mass_origin() as (_, port):
            command = [sys.executable, "-c", ASK_A_HOLE, FAR, HOST, str(port), "1000"]
            done, events = run_inside(tmp_path, command, "--backend", backend, prefix=with_few_descriptors(600))
        assert (done.returncode, done.stderr) == (0, "")
        return float(done.stdout), events

    took_s, events = in_dead_network(play)
    assert took_s < AT_ONCE_S
    ended = Counter(each["because"] for each in events if each["event"] == "flow-ended")
    assert ended["no-room"] > 500, ended
    assert not [each for each in events if each.get("failure") == "out of resources"]


@pytest.mark.parametrize("backend", BACKENDS)
def test_what_a_guest_sent_before_it_ended_arrives(tmp_path: Path, backend: str) -> None:
    script = f"printf said | nc -N {HOST} $1 & printf said | nc -N {HOST} $1 & wait"
    recorder = Recorder()
    with Origin(recorder) as origin:
        done, _ = run_inside(tmp_path, ["sh", "-c", script, "sh", str(origin.port)], "--backend", backend)
        assert (done.returncode, done.stderr) == (0, "")
        assert [(each.data, each.how) for each in recorder.take(2)] == [(b"said", "fin")] * 2
