"""A child that is forked from this process closes its copies of a relay's sockets before it does anything else.

The kernel sends a FIN or RST, and frees a port, when the last descriptor of a socket is closed. A child that kept its
copies would delay both.

`os.fork` triggers this, and with it `multiprocessing`. A child of `subprocess` or `posix_spawn` needs no help: another
program does not inherit the sockets. This module does not see a fork in another library's C code.

Every socket is on record while it is open: an engine's by its watchers and by its `unwatched`, others by
`close_in_children`. `held` is taken from before a socket is opened until it is on record, and while it leaves the
record and is closed: a fork waits for it. Nothing else waits or runs while it is held, and a connection takes it four
times, 0.3 us each.
"""

from __future__ import annotations

import os
import threading
import weakref
from typing import Protocol

held = threading.RLock()


class Closeable(Protocol):
    def close(self) -> None: ...


_ours: weakref.WeakSet[Closeable] = weakref.WeakSet()


def close_in_children(what: Closeable) -> None:
    """Close this in every child that is forked while it exists."""
    _ours.add(what)


def _close_ours() -> None:
    try:
        for each in list(_ours):
            each.close()
        _ours.clear()
    finally:
        held.release()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(before=held.acquire, after_in_parent=held.release, after_in_child=_close_ours)
