"""A name server that does not answer for some names: what waits for them, and what does not."""

from __future__ import annotations

import contextlib
import socket
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from relay.net.resolve import MAX_OF_ONE_CLIENT
from support.clients import Refused, ask, connect_by_port, crowd, socks5_request
from support.masses import wait_until
from support.name_server import NameServer, with_name_server_here
from support.namespaces import in_own_network
from support.origins import Origin, echo, read_exactly
from support.programs import ServedRelay, serve

TIMED_OUT = 0x06  # RFC 1928 section 6: TTL expired
_AT_ONCE_S = 3.0  # on a loaded machine; a resolver gives up after 5 s and more


def ask_for(callers: list[socket.socket], name: Callable[[int], str]) -> None:
    """Have each ask for a name of its own, and wait for no answer."""
    for number, caller in enumerate(callers):
        caller.sendall(b"\x05\x01\x00" + socks5_request(name(number), 80))


@contextlib.contextmanager
def calling_from(address: str, port: int) -> Iterator[socket.socket]:
    """A connection to a port on loopback."""
    with socket.create_connection(("127.0.0.1", port), timeout=20, source_address=(address, 0)) as sock:
        yield sock


def demand_quick(served: ServedRelay, name: str, origin: Origin, client: str = "127.0.0.1") -> None:
    """Insist that a name leads to the origin though others are waited for."""
    began_s = time.monotonic()
    with calling_from(client, served.port) as sock:
        ask(sock, "socks5", name, origin.port)
        sock.sendall(b"here")
        assert read_exactly(sock, 4) == b"here"
    assert time.monotonic() - began_s < _AT_ONCE_S


@pytest.mark.parametrize("silent", [64, MAX_OF_ONE_CLIENT + 40])
def test_names_that_wait_do_not_block_others(silent: int, backend: str, tmp_path: Path) -> None:
    """Literals and the hosts file's names never wait, nor do other clients' names, nor, up to a limit, one's own."""
    prefix = with_name_server_here(tmp_path, "options timeout:8 attempts:1", hosts="127.0.0.1 localhost In-Hosts.test")
    options = ("--connect-timeout", "9", "--drain-timeout", "0.1")

    def play() -> None:
        with (
            NameServer() as name_server,
            Origin(echo) as origin,
            serve(tmp_path, "--backend", backend, *options, prefix=prefix) as nat,
            crowd(nat.port, silent) as callers,
        ):
            ask_for(callers, lambda number: f"silent{number}.test")
            at_once = min(silent, MAX_OF_ONE_CLIENT)
            wait_until(lambda: len(name_server.questions) == at_once, lambda: f"asked: {name_server.questions}")
            for name in ("127.0.0.1", "127.1", "2130706433", "localhost", "in-hosts.test"):
                demand_quick(nat, name, origin)
            demand_quick(nat, "quick.test", origin, client="127.0.0.2")
            if silent < MAX_OF_ONE_CLIENT:
                demand_quick(nat, "quick.test", origin)

    in_own_network(play)


def test_look_ups_of_one_name_are_shared(backend: str, tmp_path: Path) -> None:
    prefix = with_name_server_here(tmp_path, "options timeout:8 attempts:1")

    def play() -> None:
        with (
            NameServer() as name_server,
            serve(tmp_path, "--backend", backend, "--connect-timeout", "0.8", prefix=prefix) as nat,
            crowd(nat.port, 30) as callers,
        ):
            ask_for(callers, lambda number: f"{'silent' if number % 2 else 'SILENT'}.test")
            for caller in callers:
                assert read_exactly(caller, 4)[3] == TIMED_OUT
            wait_until(lambda: name_server.questions.total() > 0, lambda: "nothing was asked")
            assert name_server.questions.total() == 1

    in_own_network(play)


def test_nothing_is_asked_for_callers_that_have_given_up(backend: str, tmp_path: Path) -> None:
    prefix = with_name_server_here(tmp_path, "options timeout:2 attempts:1")

    def play() -> None:
        with (
            NameServer() as name_server,
            Origin(echo) as origin,
            serve(tmp_path, "--backend", backend, "--connect-timeout", "0.8", prefix=prefix) as nat,
            crowd(nat.port, MAX_OF_ONE_CLIENT + 40) as callers,
        ):
            ask_for(callers, lambda number: f"silent{number}.test")
            for caller in callers:
                assert read_exactly(caller, 4)[3] == TIMED_OUT
            deadline_s = time.monotonic() + 60
            while True:  # until there is a turn for it
                try:
                    connect_by_port(nat.port, "quick.test", origin.port).close()
                    break
                except Refused:
                    assert time.monotonic() < deadline_s
            del name_server.questions["quick"]
            assert len(name_server.questions) == MAX_OF_ONE_CLIENT

    in_own_network(play)


def test_the_limit_holds_for_the_name_too(backend: str, tmp_path: Path) -> None:
    prefix = with_name_server_here(tmp_path)

    def play() -> None:
        with (
            NameServer() as name_server,
            Origin(echo) as origin,
            serve(tmp_path, "--backend", backend, "--connect-timeout", "0.5", prefix=prefix) as nat,
        ):
            began_s = time.monotonic()
            with pytest.raises(Refused) as refused:
                connect_by_port(nat.port, "silent.example", origin.port)
            assert 0.5 <= time.monotonic() - began_s < 4, "the resolver gives up after 5 s and more"
            assert refused.value.code == TIMED_OUT
            assert name_server.questions["silent"], "it was asked"
            failed = nat.wait_for("dial-failed")
            assert failed["detail"] == "silent.example was not resolved within 0.5 s"
            with connect_by_port(nat.port, "127.0.0.1", origin.port) as app:
                app.sendall(b"on it goes")
                assert app.recv(100) == b"on it goes"
            stopped_s = time.monotonic()
        assert time.monotonic() - stopped_s < 3, "nor does it wait for the resolver when it is to stop"

    in_own_network(play)
