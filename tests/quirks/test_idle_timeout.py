"""A forgotten connection, as a reader, a writer and a keepalive prober see it, at either end and for each of the ends.

On kernel sockets the relay is run twice: with all privileges, where every end is exact, and without any, where the
survey says in what it falls short. In wire mode the app's end is exact for every user.
"""

from __future__ import annotations

import queue
import socket
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from relay.testing import serve_in_thread
from support.behind_nat import BACKENDS, HOST, run_inside
from support.capabilities import need_root
from support.origins import Origin
from support.programs import as_ordinary_user, serve

pytestmark = [pytest.mark.system, pytest.mark.skipif(sys.platform != "linux", reason="seen on Linux alone")]

_AFTER_S = 0.5
_WAITS_S = 1.0
"""So long a peer that is not told anything listens, and then some more."""
_ENDS = ("silence", "rst-on-next", "rst", "fin")
_EXACT = {
    ("silence", "reads"): "hears nothing",
    ("silence", "writes"): "is not acknowledged",
    ("silence", "probes"): "ETIMEDOUT",
    ("rst-on-next", "reads"): "hears nothing",
    ("rst-on-next", "writes"): "ECONNRESET",
    ("rst-on-next", "probes"): "ECONNRESET",
    ("rst", "reads"): "ECONNRESET",
    ("rst", "writes"): "ECONNRESET",
    ("rst", "probes"): "ECONNRESET",
    ("fin", "reads"): "FIN",
    ("fin", "writes"): "FIN, then ECONNRESET",
    ("fin", "probes"): "FIN",
}
_UNPRIVILEGED = _EXACT | {
    ("silence", "writes"): "hears nothing",
    ("silence", "probes"): "hears nothing",
}
_SETTINGS = "after_s={after_s} internal={end} external={end} silence_s=60"

WATCHER = '''
import errno, socket, struct, sys, time

def watch(sock, does, waits_s):
    """What becomes of a connection when this end only reads, writes a byte, or sends keepalive probes."""
    heard = []
    sock.settimeout(waits_s)
    if does == "writes":
        time.sleep(waits_s)
        heard += ["FIN, then "] if ended(sock) else []
        try:
            sock.send(b"x")
            time.sleep(0.1)
            sock.setblocking(True)
            sock.settimeout(waits_s)
            if heard:
                sock.send(b"x")
        except OSError as error:
            return "".join(heard) + name(error)
    if does == "probes":
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        for option, value in ((socket.TCP_KEEPIDLE, 1), (socket.TCP_KEEPINTVL, 1), (socket.TCP_KEEPCNT, 2)):
            sock.setsockopt(socket.IPPROTO_TCP, option, value)
        sock.settimeout(8)
    try:
        return "hears more" if sock.recv(1) else "".join(heard) + "FIN"
    except TimeoutError as late:
        if late.errno:
            return name(late)
        unacked = struct.unpack_from("=I", sock.getsockopt(socket.IPPROTO_TCP, 11, 104), 24)[0]
        return "is not acknowledged" if unacked else "hears nothing"
    except OSError as error:
        return "".join(heard) + name(error)

def ended(sock):
    sock.setblocking(False)
    try:
        return sock.recv(1, socket.MSG_PEEK) == b""
    except OSError as error:
        return False
    finally:
        sock.setblocking(True)

def name(error):
    code = errno.ECONNRESET if error.errno == errno.EPIPE else error.errno
    return errno.errorcode[code]
'''
_APP = f"""{WATCHER}
sock = socket.create_connection((sys.argv[1], int(sys.argv[2])))
sock.send(b"x")
assert sock.recv(1) == b"x"
print(watch(sock, sys.argv[3], float(sys.argv[4])))
"""
_SPACE: dict[str, object] = {}
exec(WATCHER, _SPACE)  # noqa: S102 - the same in this process and in a program behind the NAT
watch = _SPACE["watch"]


@contextmanager
def held_connections() -> Iterator[tuple[Origin, queue.Queue[socket.socket]]]:
    """An origin that echoes one byte, and hands its connections over."""
    accepted, over = queue.Queue[socket.socket](), threading.Event()

    def handle(connection: socket.socket) -> None:
        connection.sendall(connection.recv(1))
        accepted.put(connection)
        over.wait(60)

    with Origin(handle) as origin:
        try:
            yield origin, accepted
        finally:
            over.set()


def settings(end: str) -> list[str]:
    words = _SETTINGS.format(after_s=_AFTER_S, end=end).split()
    return [word for setting in words for word in ("--set", f"idle-timeout.{setting}")]


@pytest.mark.parametrize("privileged", [True, False], ids=["privileged", "unprivileged"])
@pytest.mark.parametrize("end", _ENDS)
def test_what_each_end_hears_on_kernel_sockets(tmp_path: Path, backend: str, end: str, privileged: bool) -> None:
    need_root()
    prefix = () if privileged else as_ordinary_user()
    tmp_path.chmod(0o777)
    expected = _EXACT if privileged else _UNPRIVILEGED
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
            log=False,
        ) as served,
    ):
        found: dict[tuple[str, str, str], str] = {}

        def note(side: str, does: str, sock: socket.socket) -> None:
            found[side, end, does] = watch(sock, does, _WAITS_S)  # type: ignore[operator]

        threads, socks = [], []
        for does in ("reads", "writes", "probes"):
            sock = socket.create_connection(("127.0.0.1", served.ports[1]))
            socks.append(sock)
            sock.sendall(b"x")
            assert sock.recv(1) == b"x"
            server = accepted.get(timeout=20)
            for side, watched in (("app", sock), ("server", server)):
                threads.append(threading.Thread(target=note, args=(side, does, watched)))
                threads[-1].start()
        for thread in threads:
            thread.join(30)
        for sock in socks:
            sock.close()
    assert found == {
        (side, end, does): expected[end, does] for side in ("app", "server") for does in ("reads", "writes", "probes")
    }


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("end", _ENDS)
def test_what_the_app_hears_in_wire_mode(tmp_path: Path, backend: str, end: str) -> None:
    program = tmp_path / "app.py"
    program.write_text(_APP)
    with held_connections() as (origin, _):
        for does in ("reads", "writes", "probes"):
            command = [sys.executable, str(program), HOST, str(origin.port), does, str(_WAITS_S)]
            done, _ = run_inside(tmp_path, command, "--backend", backend, "--profile", "transparent", *settings(end))
            assert (done.stdout.strip(), done.stderr) == (_EXACT[end, does], "")


def test_the_reader_who_waits_hears_nothing_and_the_next_writer_is_reset(backend: str) -> None:
    """The point of it: a slow answer behind AWS's NAT is waited for until the client's own limit."""
    with (
        held_connections() as (origin, accepted),
        serve_in_thread("transparent", backend=backend, idle_timeout={"after_s": 350}) as nat,
        socket.create_connection(nat.forward(origin.host, origin.port)) as app,
    ):
        app.settimeout(0.3)
        app.sendall(b"x")
        assert app.recv(1) == b"x"
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
