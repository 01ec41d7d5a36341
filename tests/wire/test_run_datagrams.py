"""`relay run`: what is not TCP, by real programs."""

from __future__ import annotations

import re
import shlex
import socket
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from support.capabilities import need_program
from support.origins import Origin
from support.programs import RELAY, relay, run
from support.web import web

pytestmark = [pytest.mark.system, pytest.mark.skipif(sys.platform != "linux", reason="namespaces are Linux's")]

HOST, GATEWAY = "192.168.127.1", "192.168.127.2"
_ASK = """
import socket, sys
asking = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
asking.settimeout(60)
sent = bytes(range(256)) * int(sys.argv[3])
asking.sendto(sent, (sys.argv[1], int(sys.argv[2])))
got, source = asking.recvfrom(65536)
assert got == sent, (len(got), len(sent))
print(source[0], len(got))
"""


@contextmanager
def udp_echo() -> Iterator[int]:
    """A server on this host's loopback that sends each datagram back."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as server:
        server.bind(("127.0.0.1", 0))
        server.settimeout(60)

        def serve() -> None:
            data, source = server.recvfrom(65536)
            server.sendto(data, source)

        thread = threading.Thread(target=serve)
        thread.start()
        yield server.getsockname()[1]
        thread.join()


@pytest.mark.parametrize("backend", ["asyncio", "trio"])
@pytest.mark.parametrize("kib_quarters", [1, 40], ids=["one packet", "fragments"])
def test_a_datagram_comes_back_from_the_address_that_it_was_sent_to(
    tmp_path: Path, backend: str, kib_quarters: int
) -> None:
    program = tmp_path / "ask.py"
    program.write_text(_ASK)
    with udp_echo() as port:
        words = (sys.executable, str(program), HOST, str(port), str(kib_quarters))
        done = relay("run", "--backend", backend, "--", *words)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.split() == [HOST, str(256 * kib_quarters)]


def hops(*words: str, profile: str = "vmware-fusion") -> list[str]:
    """What traceroute inside finds at each of two hops."""
    traceroute = (need_program("traceroute"), "-n", "-q", "1", "-w", "1", "-m", "2", "-N", "1")
    done = relay("run", "--profile", profile, "--", *traceroute, *words)
    assert (done.returncode, done.stderr) == (0, "")
    return [line.split()[1] for line in done.stdout.splitlines()[1:]]


def test_traceroute_by_udp_finds_nothing_and_by_tcp_the_destination_at_once() -> None:
    """Each probe goes on with the host's own TTL, and the ICMP errors go to the host."""
    assert hops(HOST) == ["*", "*"]
    with Origin(web()) as origin:
        assert hops("-T", "-p", str(origin.port), HOST) == [HOST]


def test_traceroute_by_icmp_counts_the_nat_as_a_silent_hop() -> None:
    assert hops("-I", HOST) == ["*", HOST]


def test_where_port_unreachable_is_passed_on_udp_finds_the_destination_at_once() -> None:
    assert hops(HOST, profile="transparent") == [HOST]


def test_ping_is_answered_by_the_host_and_by_the_gateway_and_by_no_one_else() -> None:
    for address in (HOST, GATEWAY):
        done = relay("run", "--", "ping", "-c", "2", "-i", "0.2", address)
        assert done.returncode == 0, done.stdout + done.stderr
        assert len(re.findall(r"ttl=128 ", done.stdout)) == 2
    ping = (*RELAY, "run", "--", "ping", "-c", "2", "-i", "0.2", "-W", "1", "192.0.2.1")
    silent = run("unshare", "--net", "sh", "-c", f"ip link set lo up && {shlex.join(ping)}")  # nothing leaves this host
    assert silent.returncode == 1
    assert "100% packet loss" in silent.stdout
