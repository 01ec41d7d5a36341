"""torsocks: it looks names up by Tor's own commands, before it connects to what they stand for."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from support.capabilities import need_program
from support.clients import PASSWORD, USER
from support.namespaces import in_own_network
from support.origins import Origin
from support.programs import ServedRelay, run, serve
from support.web import web

_NOT_LOOPBACK = "192.0.2.1"  # torsocks connects to no loopback address
_CURL_HAS_NO_NAME = 6


def torified(nat: ServedRelay, *command: str, user: str = "", password: str = "") -> subprocess.CompletedProcess[str]:
    """Run a program under torsocks, with the relay in Tor's place."""
    credentials = ("-u", user, "-p", password) if user else ()
    return run(need_program("torsocks"), "-a", "127.0.0.1", "-P", str(nat.port), *credentials, *command)


def fetch(nat: ServedRelay, url: str, *, user: str = "", password: str = "") -> subprocess.CompletedProcess[str]:
    curl = (need_program("curl"), "--silent", "--show-error", "--max-time", "20", url)
    return torified(nat, *curl, user=user, password=password)


def play_with(
    play: Callable[[ServedRelay, Origin], None], backend: str, directory: Path, *arguments: str, name: str = "app.test"
) -> None:
    """A web server at an address that is not of the loopback network, and a relay that knows its name."""

    def serve_and_play() -> None:
        added = run("ip", "address", "add", f"{_NOT_LOOPBACK}/32", "dev", "lo")
        assert added.returncode == 0, added.stderr
        with Origin(web(), host=_NOT_LOOPBACK) as origin:
            options = ("--backend", backend, "--resolve", f"{name}:{origin.port}:{_NOT_LOOPBACK}", *arguments)
            with serve(directory, *options) as nat:
                play(nat, origin)

    in_own_network(serve_and_play)


def test_curl_gets_a_page_by_name_and_by_address(backend: str, tmp_path: Path) -> None:
    def play(nat: ServedRelay, origin: Origin) -> None:
        for host in ("app.test", _NOT_LOOPBACK):
            got = fetch(nat, f"http://{host}:{origin.port}/page")
            assert (got.stdout, got.returncode) == ("GET /page", 0), got.stderr
        assert nat.wait_for("name-resolved", name="app.test")["answer"] == _NOT_LOOPBACK
        assert nat.wait_for("flow-opened", destination=origin.target)
        assert nat.count("handshake-failed") == 0

    play_with(play, backend, tmp_path)


def test_names_of_addresses_are_looked_up(backend: str, tmp_path: Path) -> None:
    def play(nat: ServedRelay, _: Origin) -> None:
        ask = f"import socket; print(socket.gethostbyname('app.test'), socket.gethostbyaddr('{_NOT_LOOPBACK}')[0])"
        got = torified(nat, sys.executable, "-c", ask)
        assert got.stdout == f"{_NOT_LOOPBACK} app.test\n", got.stderr

    play_with(play, backend, tmp_path)


def test_a_name_that_is_not_known_is_curls_to_tell(backend: str, tmp_path: Path) -> None:
    def play(nat: ServedRelay, origin: Origin) -> None:
        got = fetch(nat, f"http://other.test:{origin.port}/page")
        assert (got.stdout, got.returncode) == ("", _CURL_HAS_NO_NAME), got.stderr
        assert nat.wait_for("name-resolved", name="other.test")["failure"] == "name not resolved"

    play_with(play, backend, tmp_path)


@pytest.mark.parametrize("password", [PASSWORD, "wrong"])
def test_a_user_with_the_right_password_and_a_wrong_one(password: str, backend: str, tmp_path: Path) -> None:
    def play(nat: ServedRelay, origin: Origin) -> None:
        got = fetch(nat, f"http://app.test:{origin.port}/in", user=USER, password=password)
        assert got.stdout == ("GET /in" if password == PASSWORD else ""), got.stderr

    play_with(play, backend, tmp_path, "--auth", f"{USER}:{PASSWORD}")
