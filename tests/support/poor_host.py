"""A process that has less than Linux: `python -m support.poor_host PLATFORM BACKEND` prints how a relay fares there.

    bare      Linux without epoll, netlink, packet sockets and every socket option that not all systems have
    darwin    the same, with a kqueue, and it calls itself macOS
    win32     as bare, and it calls itself Windows: no fcntl, termios, resource, SIGUSR1 and signals in asyncio either

What is imported before things are taken away, the async libraries above all, goes on as it is; relay is imported after.
What is printed is JSON: each check's name, and `ok` or its traceback.
"""

from __future__ import annotations

import asyncio
import contextlib
import importlib
import io
import json
import os
import pkgutil
import select
import signal
import socket
import sys
import tempfile
import threading
import time
import traceback
import types
import warnings
import zoneinfo  # noqa: F401 - typer wants it at its first run, by its real name for the platform
from collections.abc import Callable
from pathlib import Path

import anyio.from_thread  # noqa: F401
import trio  # noqa: F401
import typer.main  # noqa: F401

from support import kqueue

_EVERYWHERE = {
    *("AF_UNSPEC", "AF_INET", "AF_INET6", "TCP_NODELAY", "SO_REUSEADDR", "SO_KEEPALIVE", "SO_LINGER", "SO_ERROR"),
    *("SO_RCVBUF", "SO_SNDBUF", "SO_BROADCAST", "SO_TYPE", "SO_ACCEPTCONN"),
}
_NOT_ON_WINDOWS = ("fcntl", "termios", "resource", "pwd", "grp")


class Poorer(types.ModuleType):
    """A module as it is, but for what is missing and what is otherwise."""

    def __init__(self, real: types.ModuleType, *missing: str, **otherwise: object) -> None:
        super().__init__(real.__name__)
        self._real = real
        self._missing = missing
        self.__dict__.update(otherwise)

    def __getattr__(self, name: str) -> object:
        if name in self._missing:
            raise AttributeError(f"{self._real.__name__} has no {name} on this host")
        return getattr(self._real, name)


def become(platform: str) -> None:
    """Take away what the platform has not, for all that is imported from now on."""
    options = [name for name in dir(socket) if name.startswith(("AF_", "SO_", "TCP_")) and name not in _EVERYWHERE]
    queues = kqueue.NAMES if platform == "darwin" else {}
    poorer = [Poorer(socket, *options), Poorer(select, "epoll", **queues), Poorer(os, "splice", "eventfd")]
    if platform != "bare":
        poorer.append(Poorer(sys, platform=platform))
    if platform == "win32":
        poorer.append(Poorer(signal, "SIGUSR1"))
        asyncio.SelectorEventLoop.add_signal_handler = asyncio.AbstractEventLoop.add_signal_handler  # type: ignore[method-assign]
        sys.modules.update(dict.fromkeys(_NOT_ON_WINDOWS, None))  # type: ignore[arg-type]
    for module in poorer:
        sys.modules[module.__name__] = module


def platform() -> str:
    """What relay takes this host for."""
    return importlib.import_module("sys").platform  # type: ignore[no-any-return]


def import_everything() -> None:
    import relay  # noqa: PLC0415 - not before the platform is what it is to be

    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", r"relay\.\w+ is relay\.\S+ now", DeprecationWarning)  # the former names
        for module in pkgutil.walk_packages(relay.__path__, "relay."):
            importlib.import_module(module.name)


def carry_bytes_and_a_half_close(backend: str) -> None:
    from relay.testing import serve_in_thread  # noqa: PLC0415
    from support.clients import connect_by_port  # noqa: PLC0415
    from support.origins import Origin, read_to_end  # noqa: PLC0415

    payload = os.urandom(3 << 20)

    def answer_after_the_end(connection: socket.socket) -> None:
        connection.sendall(read_to_end(connection)[::-1])

    with Origin(answer_after_the_end) as origin, serve_in_thread("transparent", backend=backend) as nat:
        for front_end in ("socks4", "socks5", "http-connect"):
            with connect_by_port(nat.address.port, "127.0.0.1", origin.port, front_end=front_end) as sock:
                sock.sendall(payload)
                sock.shutdown(socket.SHUT_WR)
                assert read_to_end(sock) == payload[::-1]
        for number in (1, 2, 3):
            ended = nat.wait_for("flow-ended", bytes_out=len(payload), because="internal-peer")
            assert (ended.fields["internal"], ended.fields["external"]) == ("fin", "fin"), number


def carry_a_reset(backend: str) -> None:
    from relay.testing import serve_in_thread  # noqa: PLC0415
    from support.clients import connect_by_port  # noqa: PLC0415
    from support.origins import Origin, Recorder, read_exactly, read_until_over, reset  # noqa: PLC0415

    def say_and_reset(connection: socket.socket) -> None:
        connection.sendall(b"last words")
        connection.recv(1)
        reset(connection)

    recorder = Recorder()
    with serve_in_thread("transparent", backend=backend) as nat:
        with Origin(say_and_reset) as origin, connect_by_port(nat.address.port, "127.0.0.1", origin.port) as sock:
            assert read_exactly(sock, 10) == b"last words"
            sock.sendall(b"x")
            assert read_until_over(sock) == (b"", "rst")
        with Origin(recorder) as origin, connect_by_port(nat.address.port, "127.0.0.1", origin.port) as sock:
            sock.sendall(b"x")
            assert read_exactly(sock, 1) == b"x"
            reset(sock)
            assert recorder.take()[0].how == "rst"


def carry_20_flows_at_once(backend: str) -> None:
    from relay.testing import serve_in_thread  # noqa: PLC0415
    from support.clients import connect_by_port  # noqa: PLC0415
    from support.origins import Origin, echo, read_exactly  # noqa: PLC0415

    echoed: list[int] = []

    def exchange(number: int) -> None:
        payload = bytes([number]) * 200_000
        with connect_by_port(nat.address.port, "127.0.0.1", origin.port) as sock:
            sender = threading.Thread(target=sock.sendall, args=(payload,))
            sender.start()
            assert read_exactly(sock, len(payload)) == payload
            sender.join()
        echoed.append(number)

    with Origin(echo) as origin, serve_in_thread(backend=backend) as nat:
        clients = [threading.Thread(target=exchange, args=(number,)) for number in range(20)]
        for client in clients:
            client.start()
        for client in clients:
            client.join()
        assert sorted(echoed) == list(range(20))


def label_what_is_missing(backend: str) -> None:
    from relay.cli.main import run  # noqa: PLC0415
    from relay.observe import Fidelity, survey  # noqa: PLC0415

    said = io.StringIO()
    with contextlib.redirect_stdout(said):
        assert run(["doctor"]) == 0
        assert run(["explain", "vmware-fusion"]) == 0
    for support in survey().support.values():
        assert support.fidelity.value in said.getvalue()
        assert support.remedy or support.fidelity is not Fidelity.IMPOSSIBLE
    if platform() != "linux":
        with tempfile.TemporaryFile("w+") as complaint:
            with contextlib.redirect_stderr(complaint):
                assert run(["serve", "--backend", backend, "--strict", "--listen", "127.0.0.1:0"]) == 3
            complaint.seek(0)
            told = complaint.read()
        assert told.startswith("relay: --strict: this host cannot show ")
        assert "\nhint: " in told


def refuse_several_workers(backend: str) -> None:
    from relay.cli.main import run  # noqa: PLC0415

    complaint = io.StringIO()
    with contextlib.redirect_stderr(complaint):
        assert run(["serve", "--backend", backend, "--workers", "2", "--listen", "127.0.0.1:0"]) == 3
    assert complaint.getvalue().splitlines() == [
        "relay: --workers: this system does not spread connections over 2 listeners",
        "hint: leave --workers out, or use relay on Linux",
    ]


def serve_until_interrupted(backend: str) -> None:
    from relay.cli.main import run  # noqa: PLC0415

    with tempfile.TemporaryDirectory() as directory:
        port_file = Path(directory, "ports")

        def interrupt_when_ready() -> None:
            while not port_file.exists():
                time.sleep(0.01)  # a file cannot be waited on
            os.kill(os.getpid(), signal.SIGINT)

        threading.Thread(target=interrupt_when_ready).start()
        arguments = ["--backend", backend, "--listen", "127.0.0.1:0", "--port-file", str(port_file)]
        with Path(directory, "stderr").open("w") as said, contextlib.redirect_stderr(said):
            assert run(["serve", *arguments]) == 0
        assert "relay stopped" in Path(directory, "stderr").read_text()


CHECKS: tuple[Callable[[str], None], ...] = (
    carry_bytes_and_a_half_close,
    carry_a_reset,
    carry_20_flows_at_once,
    label_what_is_missing,
    refuse_several_workers,
    serve_until_interrupted,
)


def main(name: str, backend: str) -> None:
    become(name)
    import_everything()
    results = {}
    for check in CHECKS:
        try:
            check(backend)
        except BaseException:
            results[check.__name__] = traceback.format_exc()
        else:
            results[check.__name__] = "ok"
    print(json.dumps(results))  # noqa: T201 - read by the test


if __name__ == "__main__":
    main(*sys.argv[1:])
