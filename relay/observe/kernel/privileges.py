"""Linux capabilities: which this process has, and how it gets others without arming any other program.

Giving the Python interpreter file capabilities (`setcap`) is not among the ways: every script that it runs, for every
user, would have them. One process gets them, and how depends on where it runs:

    a user of the host           sudo; or root starts it with ambient capabilities (setpriv)
    root in a container          the container is started with them (--cap-add)
    a user in a container        likewise, and as root: Docker gives its capabilities to root alone
    root without capabilities    what started it has removed them from its bounding set, and must not
    a process that has them      a sandbox refuses: seccomp, or a user namespace, whose capabilities bpf(2) ignores

Measured, util-linux 2.38, Linux 6.18: `setpriv` sets ambient capabilities only together with the inheritable ones, and
only for root; an ordinary user gets EPERM. With `--reuid 65534` they stay, and bpf(2) and socket filters work.
`--bounding-set -all,+bpf,+net_admin` may be added, and changes nothing for the relay itself.
"""

from __future__ import annotations

import enum
import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path


class Capability(enum.IntEnum):
    """By their numbers in linux/capability.h."""

    NET_ADMIN = 12
    NET_RAW = 13
    BPF = 39


_WANTED = (Capability.BPF, Capability.NET_ADMIN)  # for all that a relay can do: one remedy serves every provider
_CONTAINER_MARKS = ("/.dockerenv", "/run/.containerenv")  # Docker's, Podman's


@dataclass(frozen=True, slots=True)
class Standing:
    """Where a process stands with the kernel."""

    uid: int
    gid: int
    held: int
    """The effective capabilities, a bit each."""
    in_container: bool
    last_capability: int
    """The highest number that this kernel has: 39 (BPF) and more since Linux 5.8."""


def standing() -> Standing:
    """How it is with this process."""
    status = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines() if ":" in line)
    return Standing(
        os.geteuid(),
        os.getegid(),
        int(status.get("CapEff", "0"), 16),
        any(os.path.exists(mark) for mark in _CONTAINER_MARKS),
        int(Path("/proc/sys/kernel/cap_last_cap").read_text()),
    )


def how_to_get(needed: Iterable[Capability], where: Standing | None = None) -> str:
    """What to do for a process that was refused what takes these capabilities."""
    try:
        it = where if where is not None else standing()
    except OSError:  # no /proc
        return "run it as root"
    wanted = [each for each in dict.fromkeys((*_WANTED, *needed)) if each <= it.last_capability]
    if all(it.held >> each & 1 for each in needed):
        return "run it outside of the sandbox that refuses what it has the capabilities for (seccomp, a user namespace)"
    names = [each.name for each in wanted]
    for_docker = " ".join(f"--cap-add {name}" for name in names)
    if it.in_container:
        return f"start the container with {'' if it.uid == 0 else '--user root '}{for_docker}"
    if it.uid == 0:
        for_systemd = " ".join(f"CAP_{name}" for name in names)
        return (
            f"start it where root has {' and '.join(f'CAP_{name}' for name in names)}: a container with {for_docker}, "
            f"a systemd service with CapabilityBoundingSet={for_systemd}"
        )
    for_setpriv = ",".join(f"+{name.lower()}" for name in names)
    return (
        "run it with sudo, or as yourself with no more privilege than it needs: sudo setpriv "
        f"--reuid {it.uid} --regid {it.gid} --init-groups --inh-caps {for_setpriv} --ambient-caps {for_setpriv} COMMAND"
    )
