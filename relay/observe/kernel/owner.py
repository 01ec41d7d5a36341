"""Which process holds the other end of a connection, as `tcpdump -k NP` tells on macOS.

The kernel tells the inode of the peer's socket (`sock_diag.py`); the process is the one with that inode among its file
descriptors, in /proc. That is a walk over every descriptor of every process one may look into: call it in a worker
thread. Processes that were found lately are looked at first, then the newest.

That is too slow for a program that connects and ends within some milliseconds. So a `Glimpse` looks first, on the event
loop's thread as soon as the connection is accepted: at the processes that were found lately and at those with the
highest ids, if they have few descriptors. What has ended before the relay accepts its connection has left no trace. All
glimpses of a relay share a budget of time, so that a crowd of connections is accepted as fast as without them.

Only for peers on this host; without privilege only for processes of one's own user. A connection that waits in a
listener's queue has no process yet: the process that accepts it soon is found.
"""

from __future__ import annotations

import contextlib
import os
import socket
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice

from relay.clock import real_s
from relay.observe.kernel.ends import Ends, ends_of
from relay.observe.kernel.processes import all_processes, descriptors, name_of
from relay.observe.kernel.sock_diag import ESTABLISHED, PeerLookup

_MAX_LINKS = 50_000  # descriptors looked at before giving up; measured: 2 to 8 us each
_MAX_RECENT = 32
_ACCEPT_S = 0.25  # for a process to accept a connection that is ready for it
_ACCEPT_POLL_S = 0.005

_GLIMPSED_RECENT = 4
_GLIMPSED_NEWEST = 32  # ids of threads count, too
_GLIMPSED_LINKS = 64  # a program that has just started has few descriptors
_GLIMPSES_S = 0.02  # at once; waits count, for the interpreter's lock too, which the walks contend for
_GLIMPSES_SHARE = 0.1  # of the time, in the long run

_recent: list[int] = []
_recent_lock = threading.Lock()


@dataclass(frozen=True, slots=True)
class Process:
    """A process, by its id and the name that `ps` shows (at most 15 characters)."""

    pid: int
    name: str


def owner_of(sock: socket.socket) -> Process | None:
    """Return the process that owns the peer's socket; None if it is not on this host, hidden from us, or gone.

    Of several processes that share the socket it is one. Blocks for as long as the walk takes.
    """
    ends = ends_of(sock)
    if ends is None:
        return None
    with contextlib.closing(PeerLookup()) as peers:
        inode = _inode_of_peer(peers, ends)
    if ends_of(sock) != ends:  # reset meanwhile: the socket that was found may be the next one on the peer's port
        return None
    return process_with_socket(inode) if inode else None


class Glimpse:
    """Finds the owner of a peer's socket among the likeliest processes; not for use by several threads at once.

    Measured on a busy host, Linux 6.18: 0.3 ms for a program that was just started, 0.1 ms for one that was found
    before, 0.2 ms if it finds none. The walk over all processes takes 5 ms there. Without the budget, a client with
    2,000 connections made each accept take 2 ms.
    """

    def __init__(self) -> None:
        self._peers = PeerLookup()
        self._budget_s = _GLIMPSES_S
        self._at_s = real_s()

    def owner_of(self, sock: socket.socket) -> Process | None:
        """As the function, but None is no answer: it may be any other process, or the budget is used up."""
        now_s = real_s()
        self._budget_s = min(self._budget_s + _GLIMPSES_SHARE * (now_s - self._at_s), _GLIMPSES_S)
        self._at_s = now_s
        if self._budget_s <= 0:
            return None
        try:
            return self._look(sock)
        finally:
            self._budget_s -= real_s() - now_s

    def _look(self, sock: socket.socket) -> Process | None:
        ends = ends_of(sock)
        found = self._peers.find(ends)
        if found is None or not found.inode:
            return None
        wanted = f"socket:[{found.inode}]"
        for candidate in _likeliest():
            if wanted in _first_descriptors(candidate):
                pid = _process_of(candidate)
                _remember(pid)
                return Process(pid, name_of(pid)) if ends_of(sock) == ends else None
        return None

    def close(self) -> None:
        self._peers.close()


def _likeliest() -> Iterator[int]:
    with _recent_lock:
        recent = _recent[:_GLIMPSED_RECENT]
    yield from recent
    try:
        with open("/proc/loadavg", encoding="ascii") as loadavg:
            newest = int(loadavg.read().rsplit(" ", 1)[1])
    except (OSError, ValueError):
        return
    yield from (pid for pid in range(newest, max(0, newest - _GLIMPSED_NEWEST), -1) if pid not in recent)


def _first_descriptors(pid: int) -> Iterator[str]:
    folder = f"/proc/{pid}/fd"
    try:
        if os.stat(folder).st_size > _GLIMPSED_LINKS:  # how many there are, since Linux 6.2; 0 before
            return
        with os.scandir(folder) as entries:
            for entry in islice(entries, _GLIMPSED_LINKS):
                with contextlib.suppress(OSError):
                    yield os.readlink(entry.path)
    except OSError:  # gone, no process, or not ours to look into
        return


def _process_of(thread: int) -> int:
    """The process that a thread, or the process itself, belongs to."""
    try:
        with open(f"/proc/{thread}/status", encoding="utf-8", errors="replace") as status:
            return next(int(line.split()[1]) for line in status if line.startswith("Tgid:"))
    except (OSError, StopIteration):
        return thread


def _inode_of_peer(peers: PeerLookup, ends: Ends) -> int:
    """The inode of the peer's socket; 0 if it has none, and will not get one."""
    until_s = real_s() + _ACCEPT_S
    while (found := peers.find(ends)) is not None:
        if found.inode or found.state != ESTABLISHED or real_s() > until_s:
            return found.inode
        time.sleep(_ACCEPT_POLL_S)
    return 0


def process_with_socket(inode: int) -> Process | None:
    """Return a process that holds the socket with this inode open, or None."""
    wanted = f"socket:[{inode}]"
    budget = _MAX_LINKS
    for pid in _candidates():
        links = 0
        for link in descriptors(pid):
            links += 1
            if link == wanted:
                _remember(pid)
                return Process(pid, name_of(pid))
        budget -= links
        if budget < 0:
            return None
    return None


def _candidates() -> Iterator[int]:
    with _recent_lock:
        recent = list(_recent)
    yield from recent
    yield from (pid for pid in all_processes() if pid not in recent)


def _remember(pid: int) -> None:
    with _recent_lock:
        if pid in _recent:
            _recent.remove(pid)
        _recent.insert(0, pid)
        del _recent[_MAX_RECENT:]
