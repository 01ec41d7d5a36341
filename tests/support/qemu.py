"""A virtual machine without an accelerator that runs iPXE: a small, foreign TCP/IP, with DHCP, DNS and HTTP."""

from __future__ import annotations

import subprocess
from collections.abc import Sequence
from pathlib import Path

import pytest

from support.capabilities import missing, need_program

_KERNEL = Path("/usr/lib/ipxe/ipxe.lkrn")  # of Debian's package ipxe
_LONGEST_S = 100.0


def run_ipxe(directory: Path, netdev: str, lines: Sequence[str], *, card: str = "virtio-net-pci") -> str:
    """Run a script of iPXE's on a machine with this network; returns what its console shows, once it is over."""
    qemu = need_program("qemu-system-x86_64")
    if not _KERNEL.exists():
        missing("the package ipxe is not installed")
    script = directory / "script.ipxe"
    script.write_text("\n".join(("#!ipxe", *lines, "echo the script is over", "reboot", "")))
    machine = ("-machine", "accel=tcg", "-m", "256", "-nographic", "-monitor", "none", "-no-reboot", "-vga", "none")
    boot = ("-kernel", str(_KERNEL), "-initrd", str(script))
    network = ("-netdev", f"{netdev},id=net", "-device", f"{card},netdev=net,romfile=")
    command = [qemu, *machine, *boot, *network, "-serial", "stdio"]
    try:
        done = subprocess.run(
            command, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=_LONGEST_S, check=False
        )
    except subprocess.TimeoutExpired as error:
        said = (error.stdout or b"").decode(errors="replace") if isinstance(error.stdout, bytes) else error.stdout
        pytest.fail(f"the machine is not over after {_LONGEST_S:g} s; it said: {said}")
    assert done.returncode == 0, done.stderr
    return done.stdout
