"""A child that is forked from the relay's process keeps no connection and no port open."""

from __future__ import annotations

import contextlib
import os
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from support.capabilities import missing, need_root
from support.clients import is_reset_by
from support.forking_program import WAYS
from support.origins import Origin, echo, read_exactly, read_until_over
from support.programs import clean_environment, run

pytestmark = pytest.mark.system

_DEADLINE_S = 60.0
_FORKS = 100


_RELAY_OF_THE_CHILD_S_OWN = """
import os, socket, sys
from relay.testing import serve_in_thread
from support.origins import Origin, echo, read_exactly

def exchange():
    with Origin(echo) as origin, serve_in_thread(backend=sys.argv[1]) as nat:
        with socket.create_connection(nat.forward("127.0.0.1", origin.port), timeout=60) as sock:
            sock.sendall(b"x")
            assert read_exactly(sock, 1) == b"x"

with serve_in_thread(backend=sys.argv[1]):
    pid = os.fork()
    if pid == 0:
        try:
            exchange()
        except BaseException as fault:
            print(repr(fault), file=sys.stderr, flush=True)
            os._exit(1)
        os._exit(42)
    _, status = os.waitpid(pid, 0)
    exchange()
sys.exit(os.waitstatus_to_exitcode(status))
"""


@dataclass
class Program:
    """A process that has a relay, and forks."""

    process: subprocess.Popen[str]
    port: int = 0
    children: list[int] = field(default_factory=list)

    def say(self, word: str) -> str:
        assert self.process.stdin is not None
        self.process.stdin.write(f"{word}\n")
        self.process.stdin.flush()
        return self.hear()

    def hear(self) -> str:
        assert self.process.stdout is not None
        return self.process.stdout.readline().strip()

    def fork(self) -> None:
        self.children.append(int(self.say("fork")))

    def connect(self) -> socket.socket:
        """A connection through the relay that has carried something."""
        sock = socket.create_connection(("127.0.0.1", self.port), timeout=_DEADLINE_S)
        sock.sendall(b"x")
        assert read_exactly(sock, 1) == b"x"
        return sock


@pytest.fixture(params=WAYS)
def program(request: pytest.FixtureRequest, backend: str) -> Iterator[Program]:
    """A relay in another process, which forks on command."""
    if not hasattr(os, "fork"):
        missing("nothing is forked on this host")
    with Origin(echo) as origin:
        command = [sys.executable, "-m", "support.forking_program", request.param, backend, origin.target]
        environment = clean_environment(PYTHONPATH=str(Path(__file__).parent))
        with subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment
        ) as process:
            try:
                program = Program(process)
                program.port = int(program.hear())
                yield program
                for child in program.children:
                    os.kill(child, 0)  # it is there still
            finally:
                process.kill()
                assert process.stdin is not None
                process.stdin.close()  # which ends its children


def test_a_reset_reaches_the_app_while_a_child_lives(program: Program) -> None:
    need_root()  # for a provider that sees another process's segments
    with program.connect() as app, program.connect() as other:
        program.fork()
        app.setsockopt(socket.IPPROTO_IP, socket.IP_TOS, 0x48)
        assert is_reset_by(app, b"marked")
        other.sendall(b"y")
        assert read_exactly(other, 1) == b"y"


def test_a_fin_reaches_the_app_while_a_child_lives(program: Program) -> None:
    with program.connect() as app:
        program.fork()
        app.shutdown(socket.SHUT_WR)
        assert read_until_over(app) == (b"", "fin")


def test_when_the_relay_has_stopped_its_flows_are_over_and_its_port_is_free_while_a_child_lives(
    program: Program,
) -> None:
    with program.connect() as app:
        program.fork()
        assert program.say("stop") == "stopped"
        assert read_until_over(app) == (b"", "rst")
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(("127.0.0.1", program.port), timeout=_DEADLINE_S)
        with socket.socket() as successor:
            successor.bind(("127.0.0.1", program.port))


def test_no_connection_is_missed_that_is_made_while_children_are_forked(program: Program) -> None:
    apps: list[socket.socket] = []
    done = threading.Event()

    def connect_again_and_again() -> None:
        while not done.is_set():
            with program.connect() as app:
                app.shutdown(socket.SHUT_WR)
                assert read_until_over(app) == (b"", "fin")
            apps.append(program.connect())

    thread = threading.Thread(target=connect_again_and_again)
    thread.start()
    try:
        for _ in range(_FORKS):
            program.fork()
    finally:
        done.set()
        thread.join()
    assert program.say("stop") == "stopped"
    with contextlib.ExitStack() as stack:
        for app in apps:
            assert read_until_over(stack.enter_context(app)) == (b"", "rst")


def test_a_child_may_have_a_relay_of_its_own(backend: str) -> None:
    if not hasattr(os, "fork"):
        missing("nothing is forked on this host")
    command = [sys.executable, "-W", "ignore", "-c", _RELAY_OF_THE_CHILD_S_OWN, backend]
    done = run(*command, env=clean_environment(PYTHONPATH=str(Path(__file__).parent)))
    assert done.returncode == 42, done.stderr
