"""The file by which a script learns the ports that were picked, one a line.

Whoever waits for it finds it whole: a regular file is renamed into place, where the symbolic links to it lead, and one
that an earlier relay has left is removed before this one starts, so that a start that fails leaves no wrong ports
behind. Anything else that is there already, a device or a FIFO, stays, and is written into.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from relay.address import Endpoint
from relay.errors import ConfigError


def clear_port_file(path: Path) -> None:
    """Remove what an earlier relay has left there.

    Raises:
        ConfigError: it cannot be removed, or is a directory.
    """
    with _worded(path):
        if _is_renamed_into_place(path):
            _end_of_links(path).unlink(missing_ok=True)


def write_port_file(path: Path, addresses: Iterable[Endpoint]) -> None:
    """Tell the ports of these addresses.

    Raises:
        ConfigError: the file cannot be written.
    """
    text = "".join(f"{address.port}\n" for address in addresses)
    with _worded(path):
        if _is_renamed_into_place(path):
            _replace(_end_of_links(path), text)
        else:
            _write_into(path, text)


def _is_renamed_into_place(path: Path) -> bool:
    try:
        mode = path.stat().st_mode
    except FileNotFoundError:
        return True
    if stat.S_ISDIR(mode):
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
    return stat.S_ISREG(mode)


def _end_of_links(path: Path) -> Path:
    return Path(os.path.realpath(path))


def _replace(path: Path, text: str) -> None:
    unfinished = path.with_name(f"{path.name}.{os.getpid()}")
    try:
        unfinished.write_text(text)
        unfinished.replace(path)
    except BaseException:
        unfinished.unlink(missing_ok=True)
        raise


def _write_into(path: Path, text: str) -> None:
    # Without O_NONBLOCK a FIFO that nobody reads would hold up the relay, and be deaf to Ctrl-C. Windows has neither.
    descriptor = os.open(path, os.O_WRONLY | getattr(os, "O_NONBLOCK", 0))
    with os.fdopen(descriptor, "w") as stream:
        stream.write(text)


@contextmanager
def _worded(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        if error.errno == errno.ENXIO and path.is_fifo():
            raise ConfigError(
                f"--port-file: cannot write {path}: nobody reads this FIFO", hint="start its reader before the relay"
            ) from None
        raise ConfigError(
            f"--port-file: cannot write {path}: {error.strerror}", hint="name a file that can be written"
        ) from None
