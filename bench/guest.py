"""A guest of user-mode Linux, in which a part of the bench runs on another kernel than this host's.

User-mode Linux is Linux compiled as a program: its own scheduler, timers, TCP and queueing disciplines, with the host's
clock beneath. It takes neither a virtual machine's hardware nor privileges. Its file system is this host's whole one,
read only (hostfs), under a layer in memory that takes what is written; so the same Python, checkout and programs run
there. What the command prints comes back in a folder of its own, and the console goes to standard error.

It has one CPU, and a system call costs it some 15 us. So its figures compare with each other alone.
"""

from __future__ import annotations

import contextlib
import os
import platform
import shlex
import signal
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from bench.through import find_program

INSIDE = "BENCH_GUEST"
"""The environment variable that is set in a guest."""
MEMORY_MIB = 2048
_MODULES = ("fs/overlayfs/overlay", "drivers/net/veth", "net/sched/sch_netem", "net/sched/sch_tbf")
_INSTALL = "apt-get install user-mode-linux busybox-static"


class NoGuest(Exception):
    """A guest cannot run here, or did not run to its end; the text is one line, with the remedy."""


def run_in_guest(command: Sequence[str]) -> int:
    """Run a command in a guest, in this directory; print what it prints, and return its exit code."""
    kernel, busybox = (_need_program(name) for name in ("linux.uml", "busybox"))
    version = subprocess.run([kernel, "--version"], capture_output=True, text=True, check=True).stdout.strip()
    modules = find_modules(Path(kernel), version)
    load_average = os.getloadavg()[0]
    with tempfile.TemporaryDirectory() as directory:
        place = Path(directory)
        results = place / "results"
        results.mkdir()
        init = place / "init"
        init.write_text(init_script(busybox, modules, results, command_line(command, Path.cwd())))
        init.chmod(0o755)
        run_until_it_halts(boot_command(kernel, init, max(os.sched_getaffinity(0))))
        if not (results / "status").exists():
            raise NoGuest("the guest ended before its command; what its console showed is above")
        print(
            f"* guest: user-mode Linux, 1 CPU, {MEMORY_MIB} MiB; its host's kernel: {platform.release()},"
            f" load average before: {load_average:.2f}"
        )
        print((results / "report").read_text(), end="")
        return int((results / "status").read_text())


def run_until_it_halts(boot: Sequence[str]) -> None:
    """Run the guest in a session of its own: Ctrl-C leaves it half alive, so its processes are killed."""
    with subprocess.Popen(boot, stdin=subprocess.DEVNULL, stdout=sys.stderr, start_new_session=True) as guest:
        try:
            guest.wait()
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(guest.pid, signal.SIGKILL)


def find_modules(kernel: Path, version: str) -> list[Path]:
    """The modules that a guest loads, as the package has them: beneath lib/uml/modules, by the kernel's version."""
    folder = kernel.resolve().parents[1] / "lib" / "uml" / "modules" / version / "kernel"
    modules = [folder / f"{name}.ko" for name in _MODULES]
    for module in modules:
        if not module.exists():
            raise NoGuest(f"{module} is not there: {_INSTALL}")
    return modules


def boot_command(kernel: str, init: Path, cpu: int) -> list[str]:
    """What runs the guest until it halts, on one of the host's CPUs: on two a system call takes twice as long."""
    root = ["root=/dev/root", "rootfstype=hostfs", "rootflags=/", "ro"]
    console = ["quiet", "con=null", "con0=null,fd:1"]
    return [
        "taskset",
        "-c",
        str(cpu),
        kernel,
        f"mem={MEMORY_MIB}M",
        f"uml_dir={init.parent}",
        *root,
        *console,
        f"init={init}",
    ]


def command_line(command: Sequence[str], directory: Path) -> str:
    """What a shell runs in the guest: the command in this directory, without the host's variables but PATH."""
    words = ["env", "-i", f"PATH={os.environ['PATH']}", "HOME=/root", "LANG=C.UTF-8", f"{INSIDE}=1", *command]
    return f"cd {shlex.quote(str(directory))} && exec {shlex.join(words)}"


def init_script(busybox: str, modules: Sequence[Path], results: Path, line: str) -> str:
    """The guest's first program: modules and mounts, then the command, then the end."""
    loads = "\n".join(shlex.join(["busybox", "insmod", str(module)]) for module in modules)
    return _INIT.format(
        busybox=shlex.quote(busybox), loads=loads, results=shlex.quote(str(results)), line=shlex.quote(line)
    )


_INIT = """#!/bin/sh
busybox() {{ {busybox} "$@"; }}
busybox mount -t proc proc /proc
{loads}
busybox mount -t tmpfs memory /mnt
busybox mkdir /mnt/written /mnt/work /mnt/root
busybox mount -t overlay -o lowerdir=/,upperdir=/mnt/written,workdir=/mnt/work root /mnt/root
cd /mnt/root
busybox mount -t proc proc proc
busybox mount -t sysfs sys sys
busybox mount -t devtmpfs dev dev
busybox mount -t tmpfs run run
busybox mkdir run/results
busybox mount -t hostfs -o {results} results run/results
busybox chroot . /bin/sh -c {line} >run/results/report
echo $? >run/results/status
busybox poweroff -f
"""


def _need_program(name: str) -> str:
    found = find_program(name)
    if found is None:
        raise NoGuest(f"a guest takes {name}, which is not here: {_INSTALL}")
    return found
