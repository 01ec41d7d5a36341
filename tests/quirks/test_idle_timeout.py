"""A forgotten connection, as a reader, a writer and a keepalive prober see it, at either end and for each of the ends.

On kernel sockets the relay is run twice: with all privileges, where every end is exact, and without any, where the
survey says in what it falls short. In wire mode the app's end is exact for every user.
"""

from __future__ import annotations

import json
import socket
import sys
import threading
from pathlib import Path

import pytest

from relay.testing import serve_in_thread
from support.behind_nat import BACKENDS, HOST, run_inside
from support.capabilities import need_root
from support.origins import held_connections
from support.programs import as_ordinary_user, serve
from support.watched_end import EXACT, UNPRIVILEGED, watch

pytestmark = [pytest.mark.system, pytest.mark.skipif(sys.platform != "linux", reason="seen on Linux alone")]

_AFTER_S = 0.5
_WAITS_S = 2.5
"""So long a peer waits once its connection is forgotten; to probe takes as long."""
_ENDS = ("silence", "rst-on-next", "rst", "fin")
_SETTINGS = "after_s={after_s} internal={end} external={end} silence_s=60"


def settings(end: str) -> list[str]:
    words = _SETTINGS.format(after_s=_AFTER_S, end=end).split()
    return [word for setting in words for word in ("--set", f"idle-timeout.{setting}")]


@pytest.mark.parametrize("privileged", [True, False], ids=["privileged", "unprivileged"])
@pytest.mark.parametrize("end", _ENDS)
def test_what_each_end_hears_on_kernel_sockets(tmp_path: Path, backend: str, end: str, privileged: bool) -> None:
    need_root()
    prefix = () if privileged else as_ordinary_user()
    tmp_path.chmod(0o777)
    expected = EXACT if privileged else UNPRIVILEGED
    with (
        held_connections() as (origin, accepted),
        serve(
            tmp_path,
            "--profile",
            "transparent",
            "--backend",
            backend,
            "--forward",
            f"0:{origin.target}",
            *settings(end),
            prefix=prefix,
        ) as served,
    ):
        found: dict[tuple[str, str, str], str] = {}

        def note(side: str, does: str, sock: socket.socket) -> None:
            found[side, end, does] = watch(sock, does, _WAITS_S)

        threads, socks = [], []
        peers = ("reads", "writes", "probes")
        for does in peers:
            sock = socket.create_connection(("127.0.0.1", served.ports[1]))
            socks.append(sock)
            sock.sendall(b"x")
            assert sock.recv(1) == b"x"
            server = accepted.get(timeout=20)
            for side, watched in (("app", sock), ("server", server)):
                threads.append(threading.Thread(target=note, args=(side, does, watched)))
        served.wait_for_count("flow-ended", len(peers))
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(60)
        for sock in socks:
            sock.close()
    assert found == {(side, end, does): expected[end, does] for side in ("app", "server") for does in peers}


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("end", _ENDS)
def test_what_the_app_hears_in_wire_mode(
    tmp_path: Path, backend: str, end: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parents[1]))
    peers = ("reads", "writes", "probes")
    with held_connections() as (origin, _):
        events = str(tmp_path / "events.jsonl")
        command = [sys.executable, "-m", "support.watched_end", HOST, str(origin.port), str(_WAITS_S), events, *peers]
        done, _ = run_inside(tmp_path, command, "--backend", backend, "--profile", "transparent", *settings(end))
    assert done.stderr == ""
    assert json.loads(done.stdout) == [EXACT[end, does] for does in peers]


def test_the_reader_who_waits_hears_nothing_and_the_next_writer_is_reset(backend: str) -> None:
    """The point of it: a slow answer behind AWS's NAT is waited for until the client's own limit."""
    with (
        held_connections() as (origin, accepted),
        serve_in_thread("transparent", backend=backend, idle_timeout={"after_s": 350}) as nat,
        socket.create_connection(nat.forward(origin.host, origin.port)) as app,
    ):
        app.sendall(b"x")
        assert app.recv(1) == b"x"
        app.settimeout(0.3)
        server = accepted.get(timeout=20)
        nat.advance(349)
        assert nat.flow_count == 1
        nat.advance(1)
        assert nat.flow_count == 0
        with pytest.raises(TimeoutError):
            app.recv(1)
        server.sendall(b"too late")
        with pytest.raises(TimeoutError):
            app.recv(1)
        app.settimeout(20)
        app.sendall(b"still there?")
        with pytest.raises(ConnectionResetError):
            app.recv(1)
        ended = nat.wait_for("flow-ended", because="idle-timeout").fields
        assert (ended["internal"], ended["external"]) == ("forgotten", "silence")
