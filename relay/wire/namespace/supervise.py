"""Runs the command to its end, and sees to it that nothing of it outlives the relay, or itself.

The command is this process's child. Its descendants become its children as their parents end, so none escapes: when the
command ends, or the relay (its end of the channel is closed then, however it ended), all that are left are killed.
Should this process itself be killed, the command gets the same signal; if it is init of a PID namespace
(`relay.wire.namespace.processes`), so does all that is left.
"""

from __future__ import annotations

import errno
import os
import select
import signal
import socket
import sys
from contextlib import suppress

from relay.wire.namespace import kernel
from relay.wire.namespace.mounts import Covers
from relay.wire.namespace.terminal import Job

_INIT = 1
_IGNORED_BY_PYTHON = (signal.SIGPIPE, signal.SIGXFSZ)


def supervise(
    command: list[str], blocked: list[int], channel: socket.socket, covers: Covers, job: Job | None = None
) -> int:
    """Run the command, and return its exit status: 128 and the signal's number if one killed it.

    Each byte on the channel is a signal for the command; at the channel's end every process is killed. With a `job` the
    command has the terminal to itself.
    """
    kernel.adopt_orphans()
    awake, waker = socket.socketpair()
    for each in (awake, waker):
        each.setblocking(False)
    process = _start(command, blocked, job)
    for number in kernel.OF_TERMINALS:
        signal.signal(number, signal.SIG_IGN)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    signal.set_wakeup_fd(waker.fileno(), warn_on_full_buffer=False)
    signal.pthread_sigmask(signal.SIG_SETMASK, ())
    status = _reap(process, job)
    while status is None:
        ready, _, _ = select.select((awake.fileno(), channel.fileno(), covers.changes), (), ())
        if covers.changes in ready:
            covers.renew()
        if channel.fileno() in ready:
            told = channel.recv(1)
            if not told:
                status = 128 + signal.SIGKILL
                break
            os.kill(process, told[0])
        if awake.fileno() in ready:
            awake.recv(4096)
            status = _reap(process, job)
    if os.getpid() != _INIT:
        _kill_children()
    return status


def _start(command: list[str], blocked: list[int], job: Job | None) -> int:
    """Fork; the child becomes the command. Every signal is blocked here until it has."""
    helper = os.getpid()
    signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
    process = os.fork()
    if process:
        return process
    try:
        kernel.die_with_parent(signal.SIGKILL)
        if os.getppid() != helper:
            os._exit(128 + signal.SIGKILL)
        if job is not None:
            job.begin()
        for number in _IGNORED_BY_PYTHON:
            signal.signal(number, signal.SIG_DFL)
        signal.pthread_sigmask(signal.SIG_SETMASK, blocked)
        if not command[0]:  # Python's execvp raises ValueError then
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT))
        os.execvp(command[0], command)  # noqa: S606 - the user's own command, as it is
    except OSError as error:
        absent = isinstance(error, FileNotFoundError)
        hint = "is it installed, and on PATH?" if absent else "name a program, which its user may execute"
        with suppress(OSError):
            name = command[0] or "''"
            sys.stderr.write(f"relay: cannot run {name}: {(error.strerror or '').lower()}\nhint: {hint}\n")
            sys.stderr.flush()
        os._exit(127 if absent else 126)  # as a shell does
    finally:
        os._exit(1)


def _reap(process: int, job: Job | None) -> int | None:
    """Take in every child that has ended, or stopped; return the exit status if the command has ended."""
    status = None
    with suppress(ChildProcessError):
        while True:
            pid, how = os.waitpid(-1, os.WNOHANG | (os.WUNTRACED if job is not None else 0))
            if pid == 0:
                break
            if pid == process and job is not None and os.WIFSTOPPED(how):
                job.on_stopped()
            elif pid == process:
                code = os.waitstatus_to_exitcode(how)
                status = code if code >= 0 else 128 - code
    return status


def _kill_children() -> None:
    """Kill until no child is left: each one's own children are ours when it has ended."""
    with suppress(ChildProcessError):
        while True:
            for pid in _children():
                with suppress(ProcessLookupError, PermissionError):
                    os.kill(pid, signal.SIGKILL)
            os.waitpid(-1, 0)


def _children() -> list[int]:
    found = []
    for name in os.listdir("/proc"):
        if name.isdigit():
            with suppress(OSError), open(f"/proc/{name}/stat", "rb") as file:
                parent = file.read().rpartition(b")")[2].split()[1]
                if int(parent) == os.getpid():
                    found.append(int(name))
    return found
