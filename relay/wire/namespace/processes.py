"""A PID namespace for the command: what it starts is gone when the namespace's first process is.

    relay --- helper --- init (the namespace's first process) --- the command

The kernel kills what is left of a namespace when its init ends. And it kills init when the helper ends, however that
comes about: so nothing is left even if relay and helper are killed in the same instant. The command sees the processes
of its namespace, for it has a /proc of its own; a host that does not let /proc be mounted (some containers) gives it no
PID namespace either, for its own process id would be another one's there.
"""

from __future__ import annotations

import os
import select
import signal
from collections.abc import Callable

from relay.wire.namespace import kernel
from relay.wire.namespace.terminal import Job, Terminal

_FLAGS = kernel.MS_NOSUID | kernel.MS_NODEV | kernel.MS_NOEXEC


def find_obstacle() -> int:
    """Try it; return 0 if it can be had, or the errno of what the host refuses."""
    process = os.fork()
    if process == 0:
        try:
            kernel.unshare(kernel.CLONE_NEWNS | kernel.CLONE_NEWPID)
            inner = os.fork()
            if inner == 0:
                os._exit(_mount_proc())
            os._exit(_status_of(inner))
        except OSError as error:
            os._exit(error.errno or 1)
        finally:
            os._exit(1)
    return _status_of(process)


def run_apart(run: Callable[[Job | None], int]) -> int:
    """Have init call `run`, and return what that returns; then everything that it has started is gone.

    `run` gets the terminal, if the command is to have that to itself.
    """
    terminal = Terminal.of_this_job()
    kernel.unshare(kernel.CLONE_NEWPID)
    init = os.fork()
    if init == 0:
        try:
            kernel.die_with_parent(signal.SIGKILL)
            _mount_proc()
            os._exit(run(terminal.job() if terminal is not None else None))
        finally:
            os._exit(1)
    for number in kernel.OF_TERMINALS:
        signal.signal(number, signal.SIG_IGN)
    if terminal is not None:
        ended = os.pidfd_open(init)
        while ended not in select.select((ended, terminal.fileno()), (), ())[0]:
            terminal.see_to_it()
        terminal.take_back()
    return _status_of(init)


def _mount_proc() -> int:
    try:
        kernel.mount("proc", "/proc", "proc", _FLAGS)
    except OSError as error:
        return error.errno or 1
    return 0


def _status_of(process: int) -> int:
    """The exit status of a child, once it has ended; 128 and the signal's number if one killed it."""
    code = os.waitstatus_to_exitcode(os.waitpid(process, 0)[1])
    return code if code >= 0 else 128 - code
