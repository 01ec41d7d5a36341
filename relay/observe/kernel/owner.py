"""Which process holds the other end of a connection, as `tcpdump -k NP` tells on macOS.

The kernel tells the inode of the peer's socket (`sock_diag.py`); the process is the one with that inode among its file
descriptors, in /proc. That is a walk over every descriptor of every process one may look into: call it in a worker
thread. Processes that were found lately are looked at first, then the newest.

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

from relay.clock import real_s
from relay.observe.kernel.ends import Ends, ends_of
from relay.observe.kernel.sock_diag import ESTABLISHED, PeerLookup

_MAX_LINKS = 50_000  # descriptors looked at before giving up; measured: 2 to 8 us each
_MAX_RECENT = 32
_ACCEPT_S = 0.25  # for a process to accept a connection that is ready for it
_ACCEPT_POLL_S = 0.005

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
        for link in _descriptors(pid):
            links += 1
            if link == wanted:
                _remember(pid)
                return Process(pid, _name(pid))
        budget -= links
        if budget < 0:
            return None
    return None


def _candidates() -> Iterator[int]:
    with _recent_lock:
        recent = list(_recent)
    yield from recent
    pids = sorted((int(entry) for entry in os.listdir("/proc") if entry.isdigit()), reverse=True)
    yield from (pid for pid in pids if pid not in recent)


def _descriptors(pid: int) -> Iterator[str]:
    folder = f"/proc/{pid}/fd"
    try:
        names = os.listdir(folder)
    except OSError:  # gone, or not ours to look into
        return
    for name in reversed(names):
        try:
            yield os.readlink(f"{folder}/{name}")
        except OSError:
            continue


def _remember(pid: int) -> None:
    with _recent_lock:
        if pid in _recent:
            _recent.remove(pid)
        _recent.insert(0, pid)
        del _recent[_MAX_RECENT:]


def _name(pid: int) -> str:
    try:
        with open(f"/proc/{pid}/comm", encoding="utf-8", errors="replace") as comm:
            return comm.read().rstrip("\n")
    except OSError:
        return "?"
