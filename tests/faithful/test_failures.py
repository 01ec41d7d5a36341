"""Why a destination was not reached, told apart in each protocol's words, by the command line's relay.

It runs in a network without routes: what is unreachable there is so for certain, and no question leaves the host.
"""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from support.clients import Refused, ask, connect_by_port
from support.namespaces import in_own_network
from support.origins import black_hole, read_until_over, refusing_port
from support.programs import serve

pytestmark = pytest.mark.system

NO_ROUTE = "192.0.2.1"  # TEST-NET-1 of RFC 5737, to which no route is made
UNREACHABLE = "198.51.100.1"  # TEST-NET-2, to which a route is made that says so

SAID = {
    "refused": {"socks4": 0x5B, "socks5": 5, "http-connect": (502, "connection refused")},
    "network unreachable": {"socks4": 0x5B, "socks5": 3, "http-connect": (502, "network unreachable")},
    "host unreachable": {"socks4": 0x5B, "socks5": 4, "http-connect": (502, "host unreachable")},
    "timed out": {"socks4": 0x5B, "socks5": 6, "http-connect": (504, "connection timed out")},
    "name not resolved": {"socks4": 0x5B, "socks5": 4, "http-connect": (502, "name not resolved")},
    "denied": {"socks4": 0x5B, "socks5": 2, "http-connect": (403, "denied by the relay")},
}


@contextlib.contextmanager
def failing(failure: str, relay_port: int) -> Iterator[tuple[str, int]]:
    """A destination that cannot be reached for this reason."""
    match failure:
        case "refused":
            with refusing_port() as port:
                yield "127.0.0.1", port
        case "timed out":
            with black_hole() as port:
                yield "127.0.0.1", port
        case "network unreachable":
            yield NO_ROUTE, 80
        case "host unreachable":
            yield UNREACHABLE, 80
        case "name not resolved":
            yield "no-host.invalid", 80
        case "denied":
            yield "127.0.0.1", relay_port


def answer(relay_port: int, front_end: str, host: str, port: int) -> object:
    with socket.create_connection(("127.0.0.1", relay_port), timeout=20) as client:
        if front_end == "http":
            client.sendall(f"GET http://{host}:{port}/ HTTP/1.1\r\nHost: {host}\r\n\r\n".encode())
            reply, how = read_until_over(client)
            assert how == "fin"
            head, _, text = reply.decode().partition("\r\n\r\n")
            return int(head.split()[1]), text.partition(":")[0]
        with pytest.raises(Refused) as refused:
            ask(client, front_end, host, port)
        return (refused.value.code, refused.value.text.partition(":")[0]) if refused.value.text else refused.value.code


@pytest.mark.parametrize("front_end", ["socks4", "socks5", "http-connect", "http"])
def test_each_protocol_tells_failures_apart_as_well_as_it_can(tmp_path: Path, backend: str, front_end: str) -> None:
    def said() -> dict[str, object]:
        found = {}
        with serve(tmp_path, "--profile", "transparent", "--backend", backend, "--connect-timeout", "0.3") as nat:
            for failure in SAID:
                with failing(failure, nat.port) as (host, port):
                    found[failure] = answer(nat.port, front_end, host, port)
                assert nat.wait_for("dial-failed", failure=failure)
        return found

    expected = {failure: codes["http-connect" if front_end == "http" else front_end] for failure, codes in SAID.items()}
    assert in_own_network(said, f"unreachable {UNREACHABLE}") == expected


def test_a_source_of_the_other_family_reaches_nothing(tmp_path: Path, backend: str) -> None:
    with (
        refusing_port() as port,
        serve(tmp_path, "--backend", backend, "--source", "::1") as nat,
        pytest.raises(Refused) as refused,
    ):
        connect_by_port(nat.port, "127.0.0.1", port).close()
    assert refused.value.code == SAID["network unreachable"]["socks5"]
    assert nat.wait_for("dial-failed")["detail"] == f"127.0.0.1:{port}: EADDRNOTAVAIL"
