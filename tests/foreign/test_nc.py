"""OpenBSD's nc, which speaks SOCKS4, SOCKS5 and CONNECT (-X 4, 5, connect); and netcats that are fed a request."""

from __future__ import annotations

import socket
import subprocess

import pytest

from relay.testing import RunningRelay, serve_in_thread
from support.capabilities import missing, need_program
from support.clients import whole_request
from support.origins import Origin, echo, read_to_end, refusing_port
from support.programs import run

PROTOCOLS = {"4": "socks4", "5": "socks5", "connect": "http-connect"}


def nc(nat: RunningRelay, protocol: str, host: str, port: int, *options: str) -> subprocess.CompletedProcess[str]:
    need_program("nc")
    if "OpenBSD" not in run("nc", "-h").stderr:
        missing("nc is not OpenBSD's")
    proxied = ("-X", protocol, "-x", str(nat.address))
    return run("nc", "-N", "-w", "10", *options, *proxied, host, str(port), input_="hello")


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_words_go_out_and_come_back(nat: RunningRelay, protocol: str) -> None:
    with Origin(echo) as origin:
        said = nc(nat, protocol, "127.0.0.1", origin.port)
    assert (said.stdout, said.returncode) == ("hello", 0), said.stderr
    assert nat.wait_for("flow-opened", via=PROTOCOLS[protocol])


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_the_end_of_input_is_a_half_close(nat: RunningRelay, protocol: str) -> None:
    """`nc -N` sends a FIN when its input ends, and waits for the answer."""

    def answer_at_end(connection: socket.socket) -> None:
        connection.sendall(read_to_end(connection).upper())

    with Origin(answer_at_end) as origin:
        said = nc(nat, protocol, "127.0.0.1", origin.port)
    assert (said.stdout, said.returncode) == ("HELLO", 0), said.stderr


def test_the_end_of_input_is_a_half_close_through_a_forward_too(nat: RunningRelay) -> None:
    need_program("nc")
    with Origin(echo) as origin:
        forward = nat.forward(origin.host, origin.port)
        said = run("nc", "-N", "-w", "10", forward.host, str(forward.port), input_="hello")
    assert (said.stdout, said.returncode) == ("hello", 0), said.stderr


@pytest.mark.parametrize("protocol", ["5", "connect"])
def test_names_are_resolved_by_the_relay(backend: str, protocol: str) -> None:
    with Origin(echo) as origin:
        override = f"echo.test:{origin.port}:127.0.0.1"
        with serve_in_thread(backend=backend, resolve=[override]) as nat:
            said = nc(nat, protocol, "echo.test", origin.port)
    assert (said.stdout, said.returncode) == ("hello", 0), said.stderr


@pytest.mark.parametrize("protocol", ["5", "connect"])
def test_ipv6_destinations(nat: RunningRelay, protocol: str) -> None:
    with Origin(echo, "::1") as origin:
        said = nc(nat, protocol, "::1", origin.port)
    assert (said.stdout, said.returncode) == ("hello", 0), said.stderr


@pytest.mark.parametrize(("protocol", "words"), {"4": "rejected", "5": "refused", "connect": "502"}.items())
def test_it_says_that_the_destination_refused(nat: RunningRelay, protocol: str, words: str) -> None:
    with refusing_port() as port:
        said = nc(nat, protocol, "127.0.0.1", port)
    assert said.returncode == 1
    assert words in said.stderr.lower()


FEEDERS = {"nc": ("nc", "-N", "-w", "10"), "ncat": ("ncat",)}
"""They send what they are given, then a FIN, and print what comes back until the other end's FIN."""
GRANTS = {
    "socks4": b"\0\x5a",
    "socks4a": b"\0\x5a",
    "socks5": b"\5\0\5\0",
    "http-connect": b"HTTP/1.1 200 Connection established\r\n\r\n",
}
REFUSALS = {
    "socks4": b"\0\x5b",
    "socks4a": b"\0\x5b",
    "socks5": b"\5\0\5\5",
    "http-connect": b"HTTP/1.1 502 ",
}


def feed(nat: RunningRelay, feeder: str, front_end: str, port: int) -> bytes:
    """What a netcat prints that is given a request for this port, and nothing else, as its input."""
    need_program(feeder)
    request = whole_request(front_end, "localhost" if front_end == "socks4a" else "127.0.0.1", port)
    command = [*FEEDERS[feeder], nat.address.host, str(nat.address.port)]
    fed = subprocess.run(command, input=request, capture_output=True, timeout=30, check=False)
    assert fed.returncode == 0, fed.stderr
    return fed.stdout


@pytest.mark.parametrize("front_end", GRANTS)
@pytest.mark.parametrize("feeder", FEEDERS)
def test_a_request_whose_sender_half_closes_at_once_is_granted(nat: RunningRelay, feeder: str, front_end: str) -> None:
    def answer_at_end(connection: socket.socket) -> None:
        connection.sendall(b"heard " + repr(read_to_end(connection)).encode())

    with Origin(answer_at_end) as origin:
        said = feed(nat, feeder, front_end, origin.port)
    assert said.startswith(GRANTS[front_end])
    assert said.endswith(b"heard b''")


@pytest.mark.parametrize("front_end", REFUSALS)
@pytest.mark.parametrize("feeder", FEEDERS)
def test_a_request_whose_sender_half_closes_at_once_is_refused(nat: RunningRelay, feeder: str, front_end: str) -> None:
    with refusing_port() as port:
        assert feed(nat, feeder, front_end, port).startswith(REFUSALS[front_end])
