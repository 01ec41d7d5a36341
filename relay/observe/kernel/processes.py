"""This host's processes, as /proc shows them: what is gone, or not ours to look into, is left out."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import suppress


def all_processes() -> list[int]:
    """The ids of all, the highest first: mostly that is the newest."""
    return sorted((int(entry) for entry in os.listdir("/proc") if entry.isdigit()), reverse=True)


def descendants(pid: int) -> list[int]:
    """The ids of those that a process has started, and that those have, and so on, the highest first."""
    found, parents = [], [pid]
    while parents:
        parents = [child for parent in parents for child in _children(parent)]
        found += parents
    return sorted(found, reverse=True)


def descriptors(pid: int) -> Iterator[str]:
    """What a process's descriptors lead to, the newest first."""
    folder = f"/proc/{pid}/fd"
    try:
        names = os.listdir(folder)
    except OSError:
        return
    for name in reversed(names):
        with suppress(OSError):
            yield os.readlink(f"{folder}/{name}")


def name_of(pid: int) -> str:
    """The name that `ps` shows, of at most 15 characters."""
    try:
        with open(f"/proc/{pid}/comm", encoding="utf-8", errors="replace") as comm:
            return comm.read().rstrip("\n")
    except OSError:
        return "?"


def _children(pid: int) -> Iterator[int]:
    with suppress(OSError):
        for thread in os.listdir(f"/proc/{pid}/task"):
            with suppress(OSError), open(f"/proc/{pid}/task/{thread}/children", encoding="ascii") as children:
                yield from map(int, children.read().split())


def own_pid(pid: int) -> int:
    """The id that a process has for itself: another one, if it is in a PID namespace."""
    with suppress(OSError), open(f"/proc/{pid}/status", "rb") as status:
        for line in status:
            if line.startswith(b"NSpid:"):
                return int(line.split()[-1])
    return pid
