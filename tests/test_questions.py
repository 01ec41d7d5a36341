"""Tor's RESOLVE and RESOLVE_PTR: a client asks what a name stands for, and wants no connection."""

from __future__ import annotations

import asyncio
import ipaddress
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from relay.config import configure
from relay.server import open_relay
from relay.testing import RunningRelay, serve_in_thread
from support.clients import crowd, socks5_request
from support.masses import wait_until
from support.name_server import NameServer, with_name_server_here
from support.namespaces import in_own_network
from support.origins import read_exactly, read_to_end, reset
from support.programs import ServedRelay, serve

RESOLVE, RESOLVE_PTR = 0xF0, 0xF1
_NO_HOST, _TIMED_OUT, _EXHAUSTED = 0x04, 0x06, 0x01  # RFC 1928 section 6; exhausted is a general failure
_HOSTS = "127.0.0.1 localhost\n192.0.2.9 nine.test\n2001:db8::9 six.test\n2001:db8::9 both.test\n192.0.2.9 both.test"


@contextmanager
def asking(port: int, host: str, command: int) -> Iterator[socket.socket]:
    """A connection to the proxy port over which this was asked."""
    with socket.create_connection(("127.0.0.1", port), timeout=20) as sock:
        sock.sendall(b"\x05\x01\x00" + socks5_request(host, 0, command))
        assert read_exactly(sock, 2) == b"\x05\x00"
        yield sock


def answer(port: int, host: str, command: int = RESOLVE) -> str | int:
    """What the relay answers, be it a failure's code; behind it there is a FIN."""
    with asking(port, host, command) as sock:
        return read_answer(sock)


def read_answer(sock: socket.socket) -> str | int:
    reply = read_to_end(sock)
    kind, body, port = reply[3], reply[4:-2], reply[-2:]
    assert (reply[0], reply[2], port) == (5, 0, bytes(2))
    if reply[1]:
        return reply[1]
    if kind == 3:
        assert body[0] == len(body) - 1
        return body[1:].decode()
    return str(ipaddress.ip_address(body))


def in_front_of_a_name_server(
    play: Callable[[ServedRelay, NameServer], None], backend: str, directory: Path, *arguments: str
) -> None:
    """A relay whose host asks a name server of ours, and has a hosts file."""
    prefix = with_name_server_here(directory, "options timeout:8 attempts:1", hosts=_HOSTS)

    def serve_and_play() -> None:
        options = ("--backend", backend, "--drain-timeout", "0.1", *arguments)
        with NameServer() as name_server, serve(directory, *options, prefix=prefix) as nat:
            play(nat, name_server)

    in_own_network(serve_and_play)


@pytest.mark.system
def test_names_and_addresses_are_answered(backend: str, tmp_path: Path) -> None:
    def play(nat: ServedRelay, _: NameServer) -> None:
        assert answer(nat.port, "quick.test") == "127.0.0.1"
        assert answer(nat.port, "nine.test") == "192.0.2.9"
        assert answer(nat.port, "six.test") == "2001:db8::9"
        assert answer(nat.port, "both.test") == "192.0.2.9"
        assert answer(nat.port, "2001:db8::7") == "2001:db8::7"
        assert answer(nat.port, "192.0.2.9", RESOLVE_PTR) == "nine.test"
        assert answer(nat.port, "2001:db8::9", RESOLVE_PTR) == "six.test"
        assert answer(nat.port, "no.test") == _NO_HOST
        nat.wait_for_count("name-resolved", 8)
        assert nat.wait_for("name-resolved", name="six.test", answer="2001:db8::9")["failure"] is None
        assert nat.wait_for("name-resolved", name="no.test", answer=None)["failure"] == "name not resolved"
        assert nat.count("flow-opened") == 0

    in_front_of_a_name_server(play, backend, tmp_path)


@pytest.mark.system
def test_answers_of_our_own_come_first(backend: str, tmp_path: Path) -> None:
    def play(nat: ServedRelay, name_server: NameServer) -> None:
        assert answer(nat.port, "Quick.Test") == "192.0.2.1"
        assert answer(nat.port, "192.0.2.1", RESOLVE_PTR) == "quick.test"
        assert answer(nat.port, "2001:db8::1", RESOLVE_PTR) == "long.test"
        assert not name_server.questions

    ours = ("--resolve", "quick.test:443:192.0.2.1", "--resolve", "long.test:80:[2001:db8:0:0::1]")
    in_front_of_a_name_server(play, backend, tmp_path, *ours)


@pytest.mark.system
def test_a_question_takes_no_longer_than_a_connection_may(backend: str, tmp_path: Path) -> None:
    def play(nat: ServedRelay, _: NameServer) -> None:
        assert answer(nat.port, "silent.test") == _TIMED_OUT
        assert nat.wait_for("name-resolved", name="silent.test")["failure"] == "timed out"

    in_front_of_a_name_server(play, backend, tmp_path, "--connect-timeout", "0.5")


@pytest.mark.system
def test_who_asks_may_have_sent_a_fin_or_go_away(backend: str, tmp_path: Path) -> None:
    def play(nat: ServedRelay, name_server: NameServer) -> None:
        with asking(nat.port, "nine.test", RESOLVE) as sock:
            sock.shutdown(socket.SHUT_WR)
            assert read_answer(sock) == "192.0.2.9"
        with asking(nat.port, "silent.test", RESOLVE) as sock:
            wait_until(lambda: name_server.questions["silent"] > 0, lambda: "it was not asked")
            reset(sock)
        # There is room for one alone.
        wait_until(lambda: answer(nat.port, "127.0.0.1") == "127.0.0.1", lambda: "the other is still waited for", 5)

    in_front_of_a_name_server(play, backend, tmp_path, "--max-flows", "1", "--connect-timeout", "30")


def test_they_are_answered_in_a_program_that_knows_nothing_of_anyio() -> None:
    async def ask() -> bytes:
        async with open_relay(configure(listen="127.0.0.1:0")) as nat:
            assert nat.address is not None
            reader, writer = await asyncio.open_connection(*nat.address)
            writer.write(b"\x05\x01\x00" + socks5_request("127.0.0.1", 0, RESOLVE))
            answered = await reader.read()
            writer.close()
            await writer.wait_closed()
            return answered

    assert asyncio.run(ask()) == b"\x05\x00" + b"\x05\x00\x00\x01\x7f\x00\x00\x01\x00\x00"


def test_a_question_ends_with_its_answer_or_with_the_reason_for_none(backend: str) -> None:
    with serve_in_thread(backend=backend) as nat:
        assert answer(nat.address.port, "127.0.0.1") == "127.0.0.1"
        ended = nat.wait_for("flow-ended", flow=1).fields
        assert (ended["because"], ended["destination"]) == ("answered", None)
        assert (ended["internal"], ended["internal_because"], ended["external"]) == ("fin", "answered", None)
        assert answer(nat.address.port, f"{'long' * 16}.test") == _NO_HOST
        assert nat.wait_for("flow-ended", flow=2).fields["because"] == "destination"
        assert all(flow.ending for flow in nat.flows)


@pytest.fixture
def narrow(backend: str) -> Iterator[RunningRelay]:
    """A relay with room for one client."""
    with serve_in_thread(backend=backend, max_flows=1) as running:
        yield running


def test_there_may_be_no_room_for_a_question(narrow: RunningRelay) -> None:
    with crowd(narrow.address.port, 1):
        assert answer(narrow.address.port, "127.0.0.1") == _EXHAUSTED
    wait_until(lambda: answer(narrow.address.port, "127.0.0.1") == "127.0.0.1", lambda: "there still is none")
