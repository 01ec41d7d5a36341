"""System calls that Python 3.11 has no function for, by ctypes."""

from __future__ import annotations

import ctypes
import os

CLONE_NEWNS, CLONE_NEWUSER, CLONE_NEWNET = 0x00020000, 0x10000000, 0x40000000  # linux/sched.h
MS_BIND, MS_REC, MS_SLAVE = 4096, 16384, 1 << 19  # linux/mount.h
MNT_DETACH = 2
_PR_SET_PDEATHSIG = 1  # linux/prctl.h


def unshare(flags: int) -> None:
    """Move this process, which must have one thread, into new namespaces.

    Raises:
        OSError: it may not.
    """
    _call("unshare", flags)


def mount(source: str, target: str, kind: str | None = None, flags: int = 0) -> None:
    """Mount something, in this process's mount namespace.

    Raises:
        OSError: it cannot be done.
    """
    _call(
        "mount",
        os.fsencode(source),
        os.fsencode(target),
        kind.encode() if kind is not None else None,
        ctypes.c_ulong(flags),
        None,
    )


def unmount(target: str, flags: int = 0) -> None:
    """Undo the topmost mount there.

    Raises:
        OSError: it cannot be done.
    """
    _call("umount2", os.fsencode(target), flags)


def die_with_parent(signal_number: int) -> None:
    """Have this process get a signal when the thread that started it ends. An exec keeps that, a fork does not."""
    _call("prctl", _PR_SET_PDEATHSIG, signal_number, 0, 0, 0)


def _call(name: str, *arguments: object) -> None:
    function = getattr(ctypes.CDLL(None, use_errno=True), name)
    if function(*arguments) != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
