"""CPU time and resident memory of a process and all its descendants, from Linux's /proc.

Memory is the proportional set size: a page that several processes share counts once, so that a proxy that forks is not
charged for its program over and over. What the kernel holds for sockets and pipes is in neither figure.
"""

from __future__ import annotations

import os
from pathlib import Path

_TRIES = 1000
_GONE = (FileNotFoundError, ProcessLookupError)
_TICKS_PER_S = os.sysconf("SC_CLK_TCK")


def family(pid: int) -> list[int]:
    """A process and its descendants, as far as they are alive."""
    found = [pid]
    for parent in found:  # grows as it goes
        try:
            threads = list(Path(f"/proc/{parent}/task").iterdir())
        except _GONE:
            continue
        for thread in threads:
            found += [int(child) for child in _read(thread / "children").split()]
    return found


def own_cpu_s(pid: int) -> float:
    """Seconds of CPU that the process itself has used so far."""
    return _ticks(pid, children=False) / _TICKS_PER_S


def cpu_s(pid: int) -> float:
    """Seconds of CPU that the family has used so far, its dead and reaped members' included."""
    for _ in range(_TRIES):
        members = family(pid)
        ticks = sum(map(_ticks, members))
        if family(pid) == members:
            break  # else one that was reaped meanwhile counts twice, or not at all
    return ticks / _TICKS_PER_S


def _ticks(member: int, *, children: bool = True) -> int:
    # proc_pid_stat(5): fields 14 to 17 are utime, stime, cutime, cstime; the name before them may hold anything.
    fields = _read(Path(f"/proc/{member}/stat")).rpartition(")")[2].split()
    return sum(int(field) for field in fields[11 : 15 if children else 13])


def resident_kib(pid: int) -> float:
    """Proportional set size of the family, in KiB."""
    return sum(map(own_resident_kib, family(pid)))


def own_resident_kib(pid: int) -> float:
    """The same of the process itself."""
    lines = _read(Path(f"/proc/{pid}/smaps_rollup")).splitlines()
    return sum(int(line.split()[1]) for line in lines if line.startswith("Pss:"))


def _read(path: Path) -> str:
    """A file of a process that may end meanwhile."""
    try:
        return path.read_text()
    except _GONE:
        return ""
