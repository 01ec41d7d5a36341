"""Files that read otherwise in a mount namespace of one's own.

A file is covered by a bind mount. The kernel silently takes the mount away when the file beneath is replaced or
removed in the namespace outside, as DHCP clients and NetworkManager do with /etc/resolv.conf. So the directories are
watched, and a file that shows through is covered again, by a copy of the mount that was kept for this.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

from relay.wire.namespace.kernel import (
    MNT_DETACH,
    MS_BIND,
    MS_REC,
    MS_SLAVE,
    copy_mount,
    mount,
    place_mount,
    unmount,
    watch_directories,
)

RESOLVERS = ("/run/systemd/resolve/io.systemd.Resolve", "/run/nscd/socket")
"""Sockets by which the C library asks this host's own resolver, whatever /etc/resolv.conf says."""
_SCRATCH = "/tmp"  # noqa: S108 - hidden by a file system of ours before the command runs, in our namespace alone


class Covers:
    """What covers files in this namespace: `files` as their contents say, and the sockets of resolvers.

    Raises:
        OSError: there is no such file, or mounting is forbidden. The error names the file.
    """

    def __init__(self, files: Mapping[str, str]) -> None:
        mount("none", "/", None, MS_REC | MS_SLAVE)  # what is mounted from now on stays in this namespace
        sockets = {path: "" for path in RESOLVERS if _is_socket(path)}
        self._paths = (*files, *sockets)
        self.changes = self._watch()
        """A descriptor that becomes readable when a file may show through."""
        self._covers = {path: _Cover(path, content) for path, content in {**files, **sockets}.items()}

    def renew(self) -> None:
        """Cover what shows through. What is missing for the moment is covered when it comes."""
        os.close(self.changes)
        self.changes = self._watch()  # before the look at the files, which may lead elsewhere by now
        for cover in self._covers.values():
            with suppress(OSError):
                cover.renew()

    def _watch(self) -> int:
        paths = (*self._paths, *map(os.path.realpath, self._paths))
        return watch_directories(sorted({*filter(os.path.isdir, map(os.path.dirname, paths))}))


class _Cover:
    """What covers one file."""

    def __init__(self, path: str, content: str) -> None:
        self._path = path
        self._spare = -1
        try:
            target = os.open(path, os.O_PATH | os.O_CLOEXEC)
            mount("none", _SCRATCH, "tmpfs")
            try:
                cover = Path(_SCRATCH, "cover")
                cover.write_text(content)
                cover.chmod(0o644)
                mount(str(cover), f"/proc/self/fd/{target}", None, MS_BIND)  # its path may be hidden
            finally:
                unmount(_SCRATCH, MNT_DETACH)
                os.close(target)
            self._identity = _identity(path)
        except OSError as error:
            error.filename = path
            raise
        with suppress(OSError):  # an old kernel
            self._spare = copy_mount(path)

    def renew(self) -> None:
        """Cover the file again, if it shows through.

        Raises:
            OSError: there is no file for now.
        """
        if self._spare < 0 or _identity(self._path) == self._identity:
            return
        target = os.open(self._path, os.O_PATH | os.O_CLOEXEC)
        try:
            place_mount(self._spare, target)
        finally:
            os.close(target)
        os.close(self._spare)
        self._spare = copy_mount(self._path)


def _is_socket(path: str) -> bool:
    try:
        return stat.S_ISSOCK(os.stat(path).st_mode)
    except OSError:
        return False


def _identity(path: str) -> tuple[int, int]:
    found = os.stat(path)
    return found.st_dev, found.st_ino
