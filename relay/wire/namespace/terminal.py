"""The terminal of a command that is a shell's job: the command is a job of ours, as the relay is one of the shell's.

In a PID namespace the shell's process group has no number, so a shell that runs there could not give the terminal back
to the group that had it before. So where the relay is its group's only process, and has the terminal, the command gets
a group of its own and the terminal for that. When the command stops (Ctrl-Z), the relay's group takes the terminal back
and stops as well, so the shell sees a stopped job; when the shell continues that, the command goes on.

Where other programs are in the relay's group (a pipeline, a script), or it is in the background, all stay in one group,
and the terminal's signals reach each of them.
"""

from __future__ import annotations

import os
import signal
import socket
import struct
from contextlib import suppress

_BEGUN, _STOPPED = b"b", b"s"
_CREDENTIALS = struct.Struct("=iII")  # linux/socket.h: struct ucred
_SCM_CREDENTIALS = 2
_PARENT, _GROUP = 1, 2  # among the fields of /proc/PID/stat behind the name


class Job:
    """The side of the command and its parent, which are in the namespace."""

    def __init__(self, helper: socket.socket) -> None:
        self._helper = helper

    def begin(self) -> None:
        """Make this process a group, and wait until that has the terminal."""
        os.setpgid(0, 0)
        self._helper.send(_BEGUN)
        self._helper.recv(1)

    def on_stopped(self) -> None:
        """The command has stopped."""
        self._helper.send(_STOPPED)


class Terminal:
    """The helper's side: in the relay's process group."""

    def __init__(self, descriptor: int, *, can_stop: bool) -> None:
        self._descriptor = descriptor
        self._can_stop = can_stop
        self._is_ours = True
        self._command = 0
        self._socket, its = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        # So the kernel says who sends, by the number that a process has out here.
        self._socket.setsockopt(socket.SOL_SOCKET, getattr(socket, "SO_PASSCRED"), 1)  # noqa: B009 - only on Linux
        self._its = its

    @classmethod
    def of_this_job(cls) -> Terminal | None:
        """The terminal, if this process and the relay, which is its parent, have it and are a job by themselves."""
        group, relay = os.getpgrp(), os.getppid()
        try:
            descriptor = os.open("/dev/tty", os.O_RDWR | os.O_CLOEXEC)
        except OSError:
            return None
        if relay == group == os.tcgetpgrp(descriptor) and _members(group) == {relay, os.getpid()}:
            return cls(descriptor, can_stop=_has_a_shell(relay))
        os.close(descriptor)
        return None

    def job(self) -> Job:
        """The other side, once this process has forked."""
        self._socket.close()
        return Job(self._its)

    def fileno(self) -> int:
        """What is readable when there is something to see to."""
        return self._socket.fileno()

    def see_to_it(self) -> None:
        """Do what the other side asks for."""
        told, notes, *_ = self._socket.recvmsg(1, socket.CMSG_SPACE(_CREDENTIALS.size))
        if told == _BEGUN:
            self._command = next(
                _CREDENTIALS.unpack(data)[0] for level, kind, data in notes if kind == _SCM_CREDENTIALS
            )
            self._give()
            self._socket.send(b"\0")
        elif told == _STOPPED:
            if self._can_stop:
                self.take_back()
                os.killpg(os.getpgrp(), signal.SIGSTOP)
                self._give()
            # Else no shell of the session would continue us: it goes on, as where the kernel ignores a group's stops.
            os.killpg(self._command, signal.SIGCONT)

    def take_back(self) -> None:
        """Have the relay's group have the terminal, if the command had it."""
        if not self._is_ours:
            with suppress(OSError):  # it is gone
                os.tcsetpgrp(self._descriptor, os.getpgrp())
            self._is_ours = True

    def _give(self) -> None:
        """Give the command the terminal, if it is ours: after a stop the job may be in the background."""
        if os.tcgetpgrp(self._descriptor) == os.getpgrp():
            os.tcsetpgrp(self._descriptor, self._command)
            self._is_ours = False


def _has_a_shell(process: int) -> bool:
    """Whether the process's parent is in its session, and not in its group."""
    try:
        parent = int(_stat(process)[_PARENT])
        return os.getsid(parent) == os.getsid(0) and os.getpgid(parent) != os.getpgrp()
    except OSError:
        return False


def _members(group: int) -> set[int]:
    found = set()
    for name in filter(str.isdigit, os.listdir("/proc")):
        with suppress(OSError):
            if int(_stat(int(name))[_GROUP]) == group:
                found.add(int(name))
    return found


def _stat(process: int) -> list[bytes]:
    with open(f"/proc/{process}/stat", "rb") as file:
        return file.read().rpartition(b")")[2].split()
