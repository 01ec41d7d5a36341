"""What a relay runs on: it is what was asked for, it says so, and what cannot be had is refused with the remedy."""

from __future__ import annotations

import socket
import sys
from pathlib import Path

import pytest

from relay.backend import BACKENDS, choose_backend
from relay.errors import Unsupported
from relay.testing import serve_in_thread
from support.capabilities import missing, need_root
from support.clients import connect, connect_by_port, is_reset_by
from support.origins import Origin, echo, read_exactly
from support.programs import clean_environment, run, serve

_WITHOUT_UVLOOP = "import sys; sys.modules['uvloop'] = None; from relay.cli.main import main; main()"


@pytest.fixture(params=BACKENDS)
def any_backend(request: pytest.FixtureRequest) -> str:
    name: str = request.param
    if name == "uvloop" and sys.platform == "win32":
        missing("there is no uvloop for Windows")
    return name


def exchange(sock: socket.socket) -> None:
    sock.sendall(b"over and back")
    assert read_exactly(sock, 13) == b"over and back"


@pytest.mark.system
def test_relay_serve_runs_on_what_was_asked_for_and_says_so(any_backend: str, tmp_path: Path) -> None:
    with Origin(echo) as origin, serve(tmp_path, "--backend", any_backend) as served:
        with connect_by_port(served.port, "127.0.0.1", origin.port) as sock:
            exchange(sock)
        assert served.wait_for("relay-started")["backend"] == any_backend
        assert served.wait_for("flow-ended")["bytes_out"] == 13


def test_a_relay_in_a_thread_does_likewise(any_backend: str) -> None:
    with Origin(echo) as origin, serve_in_thread("transparent", backend=any_backend) as nat:
        with connect(nat, "socks5", "127.0.0.1", origin.port) as sock:
            exchange(sock)
        assert nat.wait_for("relay-started").fields["backend"] == any_backend


def test_quirks_show_on_uvloop_as_on_the_others() -> None:
    need_root()
    with Origin(echo) as origin, serve_in_thread("vmware-fusion", backend="uvloop") as nat:
        with connect(nat, "socks5", "127.0.0.1", origin.port) as sock:
            exchange(sock)
            sock.setsockopt(socket.IPPROTO_IP, socket.IP_TOS, 0x48)
            assert is_reset_by(sock, b"marked")
        assert nat.wait_for("flow-ended").fields["because"] == "tos-reset"


@pytest.mark.system
def test_uvloop_that_is_not_installed_is_named_with_what_installs_it() -> None:
    arguments = ("serve", "--listen", "127.0.0.1:0", "--backend", "uvloop")
    done = run(sys.executable, "-c", _WITHOUT_UVLOOP, *arguments, env=clean_environment())
    assert done.returncode == 3
    assert done.stderr.splitlines() == [
        "relay: --backend: uvloop is not installed",
        'hint: pip install "vmnat-relay[uvloop]"',
    ]


def test_uvloop_is_refused_on_windows(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "platform", "win32")
    with pytest.raises(Unsupported, match="no uvloop for Windows") as caught:
        choose_backend("uvloop")
    assert caught.value.hint == "choose asyncio or trio"
