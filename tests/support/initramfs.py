"""The first file system of a Linux guest: a cpio archive (the kernel's Documentation/driver-api/early-userspace)."""

from __future__ import annotations

from collections.abc import Mapping

_DIRECTORY, _FILE = 0o040755, 0o100755
_LAST = "TRAILER!!!"


def build_initramfs(files: Mapping[str, bytes]) -> bytes:
    """An archive of these files, by their paths without a first slash, and of the directories that hold them.

    All of them may be executed; the kernel starts `init`.
    """
    directories = {path[:at] for path in files for at, letter in enumerate(path) if letter == "/"}
    members = [(path, _DIRECTORY, b"") for path in sorted(directories)]
    members += [(path, _FILE, data) for path, data in files.items()]
    return b"".join(_member(number, *member) for number, member in enumerate((*members, (_LAST, 0, b"")), 1))


def _member(number: int, path: str, mode: int, data: bytes) -> bytes:
    name = path.encode() + b"\0"
    fields = (number, mode, 0, 0, 1, 0, len(data), 0, 0, 0, 0, len(name), 0)
    header = b"070701" + b"".join(b"%08x" % field for field in fields)
    return _padded(header + name) + _padded(data)


def _padded(data: bytes) -> bytes:
    return data + bytes(-len(data) % 4)
