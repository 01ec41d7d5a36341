"""Files that a command writes, in a directory where others may write, too.

A symbolic link there can be another user's, and lead to any file that the relay may write. So no link is followed, with
one exception: to a device or a FIFO, `/dev/stdout` for example, which holds nothing that could be overwritten. What is
new is made by the call that opens it (O_CREAT with O_NOFOLLOW or O_EXCL), so nothing can come in between.

Nothing here waits: a FIFO without a reader is an error.
"""

from __future__ import annotations

import errno
import os
import secrets
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from relay.errors import ConfigError

# Windows has none of these. O_NOCTTY: a terminal that is written to does not become the one whose Ctrl-C we hear.
_BINARY = getattr(os, "O_BINARY", 0)  # on Windows alone
_NO_FOLLOW, _NO_WAIT, _NO_TTY = (getattr(os, name, 0) for name in ("O_NOFOLLOW", "O_NONBLOCK", "O_NOCTTY"))


def open_log(path: Path) -> int:
    """A descriptor that appends to a file; a new one is for its user alone.

    Raises:
        OSError: it cannot be written, or is a symbolic link.
    """
    return _open(path, os.O_APPEND)


def open_kept(path: Path) -> int:
    """A descriptor that writes over what a file holds, which `empty` takes away; otherwise as `open_log`."""
    return _open(path, _BINARY)


def empty(descriptor: int) -> None:
    """Take away what a file of `open_kept` holds; a device or a FIFO holds nothing."""
    if stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.ftruncate(descriptor, 0)


def write_whole(path: Path, text: str) -> None:
    """Write a file that others find whole or not at all; a regular one that is there is replaced.

    Raises:
        OSError: it cannot be written, or is a symbolic link.
    """
    descriptor = _open_special(path)
    if descriptor is not None:
        with os.fdopen(descriptor, "w") as stream:
            stream.write(text)
        return
    unfinished = path.with_name(f"{path.name}.{secrets.token_hex(4)}")
    descriptor = os.open(unfinished, os.O_WRONLY | os.O_CREAT | os.O_EXCL | _NO_FOLLOW, 0o666)
    try:
        with os.fdopen(descriptor, "w") as stream:
            stream.write(text)
        unfinished.replace(path)
    except BaseException:
        unfinished.unlink(missing_ok=True)
        raise


@contextmanager
def worded(option: str, path: Path, *, accepted: str) -> Iterator[None]:
    """Have a failure name the option and the file, with a hint at what is accepted.

    Raises:
        ConfigError: for every OSError of the block.
    """
    try:
        yield
    except OSError as error:
        why, hint = error.strerror, accepted
        if error.errno == errno.ENXIO and path.is_fifo():
            why, hint = "this FIFO has no reader", "start its reader before the relay"
        elif error.errno == errno.ELOOP:
            why, hint = "it is a symbolic link", "name the file that it leads to"
        raise ConfigError(f"{option}: cannot write {path}: {why}", hint=hint) from None


def _open(path: Path, how: int) -> int:
    descriptor = _open_special(path)
    if descriptor is not None:
        return descriptor
    return os.open(path, os.O_WRONLY | os.O_CREAT | how | _NO_FOLLOW | _NO_WAIT, 0o600)


def _open_special(path: Path) -> int | None:
    """A descriptor of what is there and no regular file; None where a regular file is, or nothing."""
    try:
        mode = path.stat().st_mode
    except FileNotFoundError:
        mode = stat.S_IFREG
    if not _is_stream(mode) and path.is_symlink():
        raise OSError(errno.ELOOP, os.strerror(errno.ELOOP))
    if stat.S_ISREG(mode):
        return None
    descriptor = os.open(path, os.O_WRONLY | _NO_WAIT | _NO_TTY)
    if _is_stream(os.fstat(descriptor).st_mode):
        return descriptor
    os.close(descriptor)  # something else has taken its place
    raise OSError(errno.ELOOP, os.strerror(errno.ELOOP))


def _is_stream(mode: int) -> bool:
    return stat.S_ISCHR(mode) or stat.S_ISFIFO(mode)
