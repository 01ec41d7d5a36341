"""The second article once more, by its own scripts, word for word: keepalive probes, and a SYN without a client.

The server has the article's address, in a network of the test's own.
"""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import pytest

from captures.scripts import KEEPALIVE, KEEPALIVE_PORT, KEEPALIVE_SERVER, LONE_SYN
from relay.wire.packet import parse_ipv4, undotted
from relay.wire.segment import ACK, SYN, Segment, parse_segment
from relay.wire.sequence import MASK
from support.behind_nat import run_inside
from support.namespaces import in_own_network
from support.origins import Origin, echo
from support.programs import RELAY, clean_environment
from support.slow_network import NEAR, SlowNetwork
from support.tshark import read_fields

pytestmark = [pytest.mark.system, pytest.mark.skipif(sys.platform != "linux", reason="namespaces are Linux's")]

PROFILES = ("vmware-fusion", "transparent")
DELAY_S = 0.01
IDLE_S = 5
"""As the script has it; a probe comes after so long, and so does the next once that was answered."""
ANSWER = """
from scapy.all import *
answer = {}
print(answer[TCP].flags, answer[TCP].options, answer[IP].ttl)
"""


@dataclass(frozen=True)
class Kept:
    """What became of the script behind one profile, all of it counted once the session was over."""

    said: str
    probes_inside: int
    """The guest's, in the capture of its side."""
    answers_inside: int
    """From the server's address."""
    probes_outside: int
    """On the network between the relay and the server."""


def keep(directory: Path, profile: str) -> Kept:
    """Type a word into the script, then let it idle."""
    (directory / "tcp_keepalive.py").write_text(KEEPALIVE)
    capture = directory / "packets"
    words = [
        *RELAY,
        "run",
        "--profile",
        profile,
        "--pcap",
        str(capture),
        "--",
        sys.executable,
        "-u",
        "tcp_keepalive.py",
    ]

    def play() -> tuple[str, list[tuple[float, bytes]]]:
        with SlowNetwork(DELAY_S) as network, Origin(echo, NEAR, KEEPALIVE_PORT):
            with subprocess.Popen(
                words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=directory, env=clean_environment()
            ) as program:
                assert program.stdin is not None
                assert program.stdout is not None
                program.stdin.write("test\n")
                program.stdin.flush()
                said = program.stdout.readline()
                time.sleep(IDLE_S + 2.5)  # amid the first probe and the second
                program.stdin.write("\n")  # an empty line ends it
                program.stdin.close()
                said += program.stdout.read()
            assert program.returncode == 0
            return said, list(network.packets)

    said, packets = in_own_network(play)
    probes, answers = (
        len(read_fields(capture, "frame.number", options=("-Y", f"frame.interface_name == guest && {field} && {end}")))
        for field, end in (
            ("tcp.analysis.keep_alive", f"ip.dst == {KEEPALIVE_SERVER}"),
            ("tcp.analysis.keep_alive_ack", f"ip.src == {KEEPALIVE_SERVER}"),
        )
    )
    return Kept(said, probes, answers, probes_among(segments_of_the_relay(packets)))


def segments_of_the_relay(packets: list[tuple[float, bytes]]) -> list[Segment]:
    """What the host's socket has sent to the server; in such a network the server's are to the same address."""
    found = []
    for _, packet in packets:
        ip = parse_ipv4(memoryview(packet))
        parsed = parse_segment(ip.payload) if ip is not None and ip.destination == undotted(KEEPALIVE_SERVER) else None
        if parsed is not None and parsed[0] != KEEPALIVE_PORT:
            found.append(parsed[2])
    return found


def probes_among(segments: list[Segment]) -> int:
    """How many are keepalive probes: without text, and one below what would come next."""
    count, following = 0, -1
    for segment in segments:
        if segment.flags == ACK and not len(segment.payload) and segment.seq == following - 1 & MASK:
            count += 1
        else:
            following = segment.seq + segment.length & MASK
    return count


@pytest.fixture(scope="module")
def kept(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Kept]]:
    """The script behind each profile, at the same time: it only waits."""
    folders = [tmp_path_factory.mktemp(profile) for profile in PROFILES]
    with ThreadPoolExecutor(len(PROFILES)) as pool:
        yield dict(zip(PROFILES, pool.map(keep, folders, PROFILES), strict=True))


def test_behind_the_nat_the_probe_is_answered_in_the_server_s_name_and_does_not_reach_it(kept: dict[str, Kept]) -> None:
    seen = kept["vmware-fusion"]
    assert seen.said == ">test\n>"
    assert (seen.probes_inside, seen.answers_inside) == (1, 1)
    assert seen.probes_outside == 0


def test_behind_the_control_profile_the_server_is_asked(kept: dict[str, Kept]) -> None:
    seen = kept["transparent"]
    assert seen.said == ">test\n>"
    assert (seen.probes_inside, seen.answers_inside) == (1, 1)
    assert seen.probes_outside > 0


def test_a_lone_syn_completes_the_handshake_at_the_server(tmp_path: Path) -> None:
    def play() -> list[int]:
        with SlowNetwork(DELAY_S) as network, Origin(echo, NEAR, KEEPALIVE_PORT) as origin:
            done, _ = run_inside(tmp_path, [sys.executable, "-c", ANSWER.format(LONE_SYN)], "--map-root")
            assert done.returncode == 0, done.stderr
            assert done.stdout.splitlines()[-1] == "SA [('MSS', 1460)] 128"
            assert origin.accepted == 1
            return [segment.flags for segment in segments_of_the_relay(network.packets)]

    assert in_own_network(play)[:2] == [SYN, ACK], "the relay's own; its answer lies between them"
