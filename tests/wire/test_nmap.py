"""nmap behind the NAT: it takes it for the device that it is to be, and its scans get the answers that follow.

A fingerprint's sequence numbers are a matter of chance: about half of those that 30 random bits give are in the ranges
of nmap's database, so the number of the seed stands here.
"""

from __future__ import annotations

import re
import socket
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from support.behind_nat import BACKENDS, HOST, run_inside
from support.capabilities import need_program
from support.origins import Origin, echo, refusing_port

pytestmark = [pytest.mark.system, pytest.mark.skipif(sys.platform != "linux", reason="namespaces are Linux's")]

SEED = "5"


@pytest.fixture(autouse=True)
def _nmap() -> None:
    need_program("nmap")


@contextmanager
def udp_server() -> Iterator[int]:
    """A UDP port that answers whatever comes, also nothing."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as server:
        server.bind(("127.0.0.1", 0))

        def serve() -> None:
            while True:
                data, guest = server.recvfrom(2048)
                if data == b"over":
                    return
                server.sendto(b"here", guest)

        thread = threading.Thread(target=serve)
        thread.start()
        try:
            yield server.getsockname()[1]
        finally:
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as last:
                last.sendto(b"over", server.getsockname())
            thread.join(60)


def nmap(directory: Path, *words: str, options: tuple[str, ...] = ()) -> str:
    """What nmap says of the host's address."""
    command = ["nmap", "-n", "-Pn", *words, HOST]
    done, _ = run_inside(directory, command, "--map-root", "--seed", SEED, *options)
    assert (done.returncode, done.stderr) == (0, ""), done.stderr
    return done.stdout


def states(told: str) -> dict[int, str]:
    """The state of each port, in nmap's words."""
    return {int(port): state for port, state in re.findall(r"^(\d+)/\w+ +(\S+)", told, re.MULTILINE)}


@pytest.mark.parametrize(
    ("profile", "backend"), [*(("vmware-fusion", each) for each in BACKENDS), ("vmware-workstation", "asyncio")]
)
def test_nmap_knows_the_virtual_nat_device(tmp_path: Path, profile: str, backend: str) -> None:
    with Origin(echo) as origin, refusing_port() as closed:
        words = ("-O", "--max-os-tries", "5", "-p", f"{origin.port},{closed}")
        told = nmap(tmp_path, *words, options=("--profile", profile, "--backend", backend))
    assert "OS details: VMware Player virtual NAT device\n" in told, told


def test_the_control_profile_is_no_such_device(tmp_path: Path) -> None:
    with Origin(echo) as origin, refusing_port() as closed:
        told = nmap(tmp_path, "-O", "-p", f"{origin.port},{closed}", options=("--profile", "transparent"))
    assert "VMware" not in told


@pytest.mark.parametrize(
    ("scan", "opened", "closed"),
    [
        ("-sS", "open", "closed"),
        ("-sT", "open", "closed"),
        ("-sA", "unfiltered", "unfiltered"),  # T4, T6: RST
        ("-sN", "open|filtered", "open|filtered"),  # T2: silence
        ("-sX", "closed", "closed"),  # T7: RST,ACK, and the open port has no connection either
        ("-sF", "closed", "closed"),
    ],
)
def test_a_scan_gets_the_answers_that_the_fingerprint_implies(
    tmp_path: Path, scan: str, opened: str, closed: str
) -> None:
    with Origin(echo) as origin, refusing_port() as refusing:
        told = nmap(tmp_path, scan, "-p", f"{origin.port},{refusing}")
        assert states(told) == {origin.port: opened, refusing: closed}, told


@pytest.mark.parametrize(("profile", "closed"), [("vmware-fusion", "open|filtered"), ("transparent", "closed")])
def test_a_closed_udp_port_is_silent_behind_vmnat(tmp_path: Path, profile: str, closed: str) -> None:
    with udp_server() as port, socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as holder:
        holder.bind(("127.0.0.1", 0))
        refusing = holder.getsockname()[1]
        holder.close()
        told = nmap(tmp_path, "-sU", "-p", f"{port},{refusing}", options=("--profile", profile))
        assert states(told) == {port: "open", refusing: closed}, told


def test_a_half_open_scan_is_a_whole_connection_to_the_server(tmp_path: Path) -> None:
    with Origin(echo) as origin:
        nmap(tmp_path, "-sS", "-p", str(origin.port))
        assert origin.accepted == 1
