"""What a guest must not do: reach the host's loopback by another address than the network's own, or lie about its own.

The servers listen on 127.0.0.1 alone, and report everything that comes.
"""

from __future__ import annotations

import contextlib
import re
import socket
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from support.behind_nat import BACKENDS, HOST, run_inside
from support.origins import Origin, echo

pytestmark = [pytest.mark.system, pytest.mark.skipif(sys.platform != "linux", reason="namespaces are Linux's")]

NOWHERE = (
    "127.0.0.1",
    "127.1.2.3",
    "127.255.255.255",
    "0.0.0.0",
    "0.1.2.3",
    "224.0.0.1",
    "240.0.0.1",
    "255.255.255.255",
    "192.168.127.255",
)
OWN = ("192.168.127.2", "192.168.127.254")
"""The NAT's own addresses, which lead to no host."""
LIES = ("10.9.9.9", "127.0.0.1", "0.0.0.0", "192.168.126.128", *OWN, HOST, "192.168.127.255", "192.168.127.0")


@pytest.fixture(autouse=True)
def _programs_find_these_tests(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parents[1]))


@dataclass
class Loopback:
    """A TCP and a UDP server on the same port of this host's loopback."""

    origin: Origin
    datagrams: socket.socket

    @property
    def port(self) -> int:
        return self.origin.port

    def visits(self) -> tuple[int, int]:
        """How many connections and datagrams have come."""
        count = 0
        with contextlib.suppress(BlockingIOError):
            while self.datagrams.recv(100):
                count += 1
        return self.origin.accepted, count


@pytest.fixture
def loopback() -> Iterator[Loopback]:
    with Origin(echo) as origin, socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as datagrams:
        datagrams.bind(("127.0.0.1", origin.port))
        datagrams.setblocking(False)
        yield Loopback(origin, datagrams)


def pry(directory: Path, port: int, count: int, tries: tuple[str, ...], *options: str) -> tuple[dict[str, str], str]:
    """The TCP answer to each try, and what the relay said at its end."""
    command = [sys.executable, "-m", "support.prying_guest", str(port), str(count), *tries]
    done, events = run_inside(directory, command, "--verbose", *options)
    assert done.returncode == 0, done.stderr
    assert [each for each in events if each["event"] == "fault"] == []
    answers = dict(line.split() for line in done.stdout.splitlines())
    return answers, done.stderr


def dropped(told: str) -> dict[str, int]:
    """How many packets were dropped for each reason, as the relay has said."""
    (line,) = re.findall(r"^dropped: [\d,]+ packets?: (.*)$", told, re.MULTILINE)
    return {reason: int(count.replace(",", "")) for reason, count in re.findall(r"([^,\d][^\d]*) ([\d,]*\d)", line)}


@pytest.mark.parametrize("backend", BACKENDS)
def test_the_hosts_loopback_is_reached_by_the_hosts_address_alone(
    tmp_path: Path, backend: str, loopback: Loopback
) -> None:
    answers, told = pry(tmp_path, loopback.port, 1, (*NOWHERE, *OWN), "--backend", backend)
    assert loopback.visits() == (0, 0)
    assert answers == dict.fromkeys(NOWHERE, "-") | dict.fromkeys(OWN, "RA")
    assert dropped(told)["to nowhere"] == 2 * len(NOWHERE)
    answers, _ = pry(tmp_path, loopback.port, 1, (HOST,), "--backend", backend)
    assert answers == {HOST: "SA"}
    assert loopback.visits() == (1, 1)


def test_with_no_host_it_is_not_reached_at_all(tmp_path: Path, loopback: Loopback) -> None:
    answers, _ = pry(tmp_path, loopback.port, 1, (HOST, *OWN, *NOWHERE), "--no-host")
    assert loopback.visits() == (0, 0)
    assert answers == dict.fromkeys((HOST, *OWN), "RA") | dict.fromkeys(NOWHERE, "-")


def test_a_guests_own_kernel_reaches_no_further_either(tmp_path: Path, loopback: Loopback) -> None:
    reached = (
        "import socket, sys; print(*(socket.socket().connect_ex((each, int(sys.argv[1]))) for each in sys.argv[2:]))"
    )
    tries = ("127.0.0.1", "0.0.0.0", "localhost")
    done, _ = run_inside(tmp_path, [sys.executable, "-c", reached, str(loopback.port), *tries])
    assert (done.returncode, done.stdout) == (0, "111 111 111\n"), "its own loopback, where no server is"
    assert loopback.visits() == (0, 0)


@pytest.mark.parametrize("backend", BACKENDS)
def test_packets_from_addresses_that_no_guest_has_are_dropped_and_counted(
    tmp_path: Path, backend: str, loopback: Loopback
) -> None:
    tries = tuple(f"from:{source}" for source in LIES)
    answers, told = pry(tmp_path, loopback.port, 3, tries, "--backend", backend)
    assert loopback.visits() == (0, 0)
    assert answers == dict.fromkeys(tries, "-")
    assert dropped(told) == {"not from a guest's address": 2 * 3 * len(LIES)}


def test_with_no_host_no_name_leads_to_its_loopback(tmp_path: Path, loopback: Loopback) -> None:
    url, answer = f"http://inside.test:{loopback.port}/", f"inside.test:{loopback.port}:127.0.0.1"
    done, _ = run_inside(tmp_path, ["curl", "-sS", "--max-time", "5", url], "--resolve", answer, "--no-host")
    assert done.returncode in {6, 7}, done.stderr  # not resolved, or not connected
    assert loopback.visits() == (0, 0)
