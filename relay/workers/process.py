"""A worker as its parent has it: a process, and the channel to it.

It is a fresh interpreter, not a fork: an event loop, its threads and its epoll do not survive one.
"""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import partial

import anyio
import anyio.to_thread

from relay.control import Command
from relay.errors import RelayBug, RelayError
from relay.fidelity import QuirkFidelity
from relay.loop.forks import close_in_children, held
from relay.totals import Totals
from relay.workers.channel import Channel, Do, Done, Ready, Start

DIED = "worker-died"
_ENDS_S = 5.0  # an interpreter that has closed its channel has little left to do


class Answer:
    """One worker's answer to one command."""

    def __init__(self) -> None:
        self._given = anyio.Event()
        self._done: Done | None = None

    def give(self, done: Done | None) -> None:
        """With None the worker has ended before."""
        self._done = done
        self._given.set()

    async def wait(self) -> Done | None:
        """Wait for what `give` is called with."""
        await self._given.wait()
        return self._done


class WorkerProcess:
    """One worker; made by its start.

    Raises:
        RelayError: this host has no room for a process more.
    """

    def __init__(self, number: int, start: Start, backend: str) -> None:
        self.number = number
        self.next_flow = start.share.first_flow
        """A lower bound of the next flow's number among its records."""
        self.totals = Totals()
        """What its flows come to, as it has said last."""
        self.gone = anyio.Event()
        self._asked: deque[Answer] = deque()
        with held:
            ours, its = socket.socketpair()
            close_in_children(ours)
            close_in_children(its)
        with its:
            try:
                self._process = _spawn(its, backend)
            except OSError as error:
                ours.close()
                raise RelayError(
                    f"--workers: cannot start a process: {error.strerror}", hint="start fewer of them"
                ) from None
        self.channel = Channel(ours)
        self._tell(start)

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def is_running(self) -> bool:
        return self._process.poll() is None

    def ask(self, command: Command[object]) -> Answer:
        """Have it carry out a command, after those it was asked before."""
        answer = Answer()
        if self.gone.is_set():
            answer.give(None)
        else:
            self._asked.append(answer)
            self._tell(Do(command))
        return answer

    def take(self, done: Done) -> None:
        """Take in what it says to the earliest command that it has not answered."""
        self._asked.popleft().give(done)

    async def ready(self) -> list[QuirkFidelity]:
        """Wait until it serves; returns how well each quirk shows there.

        Raises:
            RelayError: it does not, and says why.
        """
        try:
            answer = await self.channel.receive()
        except EOFError:
            status = await self.ended()
            raise RelayError(f"a worker died as it started: {status or 'exit code 0'}") from None
        match answer:
            case Ready(fidelity):
                return fidelity
            case RelayError():
                raise answer
            case _:
                raise RelayBug(f"a worker began with {answer!r}")

    async def ended(self) -> str:
        """Wait for the end of a process whose channel is closed, and kill it if need be.

        Returns the signal that killed it, or its exit code in words; empty if all was well.
        """
        self.gone.set()
        self._end_flows()
        while self._asked:
            self._asked.popleft().give(None)
        try:
            code = await anyio.to_thread.run_sync(partial(self._process.wait, _ENDS_S), abandon_on_cancel=True)
        except subprocess.TimeoutExpired:
            code = self.kill()
        self.channel.close()
        if code < 0:
            return _name_of_signal(-code)
        return f"exit code {code}" if code else ""

    def kill(self) -> int:
        """End it now, if it has not ended, and leave nothing of it behind; returns its status."""
        if self.is_running:
            self._process.kill()
        self._end_flows()
        self.channel.close()
        return self._process.wait()

    def _end_flows(self) -> None:
        """Count what was open when it died: nothing ends a flow of a process that is gone but that."""
        if self.totals.open:
            self.totals.ended_by[DIED] += self.totals.open
            self.totals.open = 0

    def _tell(self, message: object) -> None:
        with suppress(OSError):  # it has ended
            self.channel.send(message)


def _name_of_signal(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:  # a real-time signal's
        return f"signal {number}"


def _spawn(channel: socket.socket, backend: str) -> subprocess.Popen[bytes]:
    arguments = [str(channel.fileno()), backend, str(os.getpid())]
    command = [sys.executable, "-P", "-m", "relay.workers.worker", *arguments]
    # It is to find the same relay and the same behaviours as we did, wherever they are.
    path = os.pathsep.join(entry or os.getcwd() for entry in sys.path)
    with _signals_blocked():
        return subprocess.Popen(
            command, stdin=subprocess.DEVNULL, pass_fds=(channel.fileno(),), env={**os.environ, "PYTHONPATH": path}
        )


@contextmanager
def _signals_blocked() -> Iterator[None]:
    """Block the signals that the parent acts on, for what is started in the block."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT, signal.SIGTERM, signal.SIGUSR1})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
