"""System calls that Python 3.11 has no function for, by ctypes."""

from __future__ import annotations

import ctypes
import os
import signal
import struct
import sys

if sys.platform != "win32":
    import fcntl

CLONE_NEWNS, CLONE_NEWUSER, CLONE_NEWPID, CLONE_NEWNET = 0x00020000, 0x10000000, 0x20000000, 0x40000000  # linux/sched.h
MS_NOSUID, MS_NODEV, MS_NOEXEC, MS_BIND, MS_REC, MS_SLAVE = 2, 4, 8, 4096, 16384, 1 << 19  # linux/mount.h
MNT_DETACH = 2
OF_TERMINALS = (signal.SIGINT, signal.SIGQUIT, signal.SIGHUP, signal.SIGTERM, signal.SIGTTOU)
"""What a terminal sends to its whole foreground: the command alone is to make something of it."""
_PR_SET_PDEATHSIG, _PR_SET_CHILD_SUBREAPER = 1, 36  # linux/prctl.h
_IN_NONBLOCK, _IN_CLOEXEC = 0o4000, 0o2000000  # linux/inotify.h
_IN_CHANGES = 0x40 | 0x80 | 0x100 | 0x200  # moved from and to, created, deleted
# The same on every architecture but Alpha.
_OPEN_TREE, _MOVE_MOUNT = 428, 429  # asm-generic/unistd.h
_AT_FDCWD, _OPEN_TREE_CLONE = -100, 1
_FROM_AND_TO_DESCRIPTOR = 0x4 | 0x40  # MOVE_MOUNT_F_EMPTY_PATH, MOVE_MOUNT_T_EMPTY_PATH
_SIOCETHTOOL = 0x8946  # linux/sockios.h
_ETHTOOL_STXCSUM, _ETHTOOL_STSO, _ETHTOOL_SGSO = 0x17, 0x1F, 0x24  # linux/ethtool.h


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
    encoded_kind = kind.encode() if kind is not None else None
    _call("mount", os.fsencode(source), os.fsencode(target), encoded_kind, ctypes.c_ulong(flags), None)


def unmount(target: str, flags: int = 0) -> None:
    """Undo the topmost mount there.

    Raises:
        OSError: it cannot be done.
    """
    _call("umount2", os.fsencode(target), flags)


def copy_mount(path: str) -> int:
    """Return a descriptor of a mount that shows the same file, and is nowhere yet.

    Raises:
        OSError: it cannot be done, or the kernel is older than 5.2 (ENOSYS).
    """
    return _call("syscall", _OPEN_TREE, _AT_FDCWD, os.fsencode(path), _OPEN_TREE_CLONE | os.O_CLOEXEC)


def place_mount(descriptor: int, target: int) -> None:
    """Mount what `copy_mount` has returned over the file that `target` is open on.

    Raises:
        OSError: it cannot be done.
    """
    _call("syscall", _MOVE_MOUNT, descriptor, b"", target, b"", _FROM_AND_TO_DESCRIPTOR)


def die_with_parent(signal_number: int) -> None:
    """Have this process get a signal when the thread that started it ends. An exec keeps that, a fork does not."""
    _call("prctl", _PR_SET_PDEATHSIG, signal_number, 0, 0, 0)


def adopt_orphans() -> None:
    """Have processes whose parent ends become this one's children, if they descend from it."""
    _call("prctl", _PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def watch_directories(paths: list[str]) -> int:
    """Return a descriptor that becomes readable when an entry of one of these directories comes, goes or is replaced.

    Raises:
        OSError: there is no such directory, or too much is watched already.
    """
    descriptor = _call("inotify_init1", _IN_NONBLOCK | _IN_CLOEXEC)
    try:
        for path in paths:
            _call("inotify_add_watch", descriptor, os.fsencode(path), _IN_CHANGES)
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor


def leave_work_undone(device: str, descriptor: int) -> None:
    """Have a device of this network namespace send no super-segments, and no partial checksums; by any socket.

    Raises:
        OSError: the device does not support this.
    """
    for command in (_ETHTOOL_STSO, _ETHTOOL_SGSO, _ETHTOOL_STXCSUM):
        value = ctypes.create_string_buffer(struct.pack("=II", command, 0), 8)
        fcntl.ioctl(descriptor, _SIOCETHTOOL, struct.pack("@16sP16x", device.encode(), ctypes.addressof(value)))


def _call(name: str, *arguments: object) -> int:
    function = getattr(ctypes.CDLL(None, use_errno=True), name)
    result = int(function(*arguments))
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
    return result
