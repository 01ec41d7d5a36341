"""Virtual machines without an accelerator, as guests.

iPXE is a small, foreign TCP/IP, with DHCP, DNS and HTTP. Linux is Debian's own kernel, and busybox.
"""

from __future__ import annotations

import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest

from support.capabilities import missing, need_program
from support.initramfs import build_initramfs

_IPXE = Path("/usr/lib/ipxe/ipxe.lkrn")  # of Debian's package ipxe
_LINUX = Path("/usr/local/lib/linux-guest")
"""Where .ci/run has unpacked a kernel, `vmlinuz`, and those of these modules that are not built in."""
_MODULES = (
    "virtio_ring",
    "virtio",
    "virtio_pci_legacy_dev",
    "virtio_pci_modern_dev",
    "virtio_pci",
    "failover",
    "net_failover",
    "virtio_net",
)
_LONGEST_S = 100.0


def run_ipxe(directory: Path, netdev: str, lines: Sequence[str], *, card: str = "virtio-net-pci") -> str:
    """Run a script of iPXE's on a machine with this network; returns what its console shows, once it is over."""
    if not _IPXE.exists():
        missing("the package ipxe is not installed")
    script = directory / "script.ipxe"
    script.write_text("\n".join(("#!ipxe", *lines, "echo the script is over", "reboot", "")))
    return _run(_IPXE, script, netdev, card)


def run_linux(directory: Path, netdev: str, lines: Sequence[str], programs: Mapping[str, Path]) -> str:
    """Run a shell's script on a Linux machine with this network; returns what its console shows, once it is over.

    The network is up and configured by DHCP when the script begins. `programs` are statically linked ones, by their
    names.
    """
    busybox, kernel = Path(need_program("busybox")), _LINUX / "vmlinuz"
    if not kernel.exists():
        missing(f"there is no kernel for a guest in {_LINUX}; .ci/run gets one")
    modules = [module for name in _MODULES if (module := _LINUX / f"{name}.ko").exists()]
    init = _INIT.format(modules="".join(f"insmod /modules/{module.name}\n" for module in modules))
    files = {f"modules/{module.name}": module.read_bytes() for module in modules}
    files |= {f"bin/{name}": path.read_bytes() for name, path in {"busybox": busybox, **programs}.items()}
    files |= {"init": init.encode(), "bin/leased": _LEASED.encode(), "script": "\n".join((*lines, "")).encode()}
    initramfs = directory / "initramfs"
    initramfs.write_bytes(build_initramfs(files))
    words = ("-append", "console=ttyS0 quiet panic=-1 random.trust_cpu=on mitigations=off")
    return _run(kernel, initramfs, netdev, "virtio-net-pci", *words)


_INIT = """#!/bin/busybox sh
export PATH=/bin
busybox mkdir -p /proc /dev /etc
busybox mount -t proc proc /proc
busybox --install -s /bin
mount -t devtmpfs devtmpfs /dev
{modules}ip link set lo up
ip link set eth0 up
udhcpc -q -n -f -i eth0 -s /bin/leased 2>&1
sh /script 2>&1
echo the script is over
reboot -f
"""
_LEASED = """#!/bin/busybox sh
[ "$1" = bound ] || exit 0
ip address add $ip/$mask dev $interface
ip route add default via $router
echo nameserver $dns > /etc/resolv.conf
echo guest $ip/$mask gateway $router dns $dns domain $domain
"""


def _run(kernel: Path, initrd: Path, netdev: str, card: str, *options: str) -> str:
    machine = ("-machine", "accel=tcg", "-m", "256", "-nographic", "-monitor", "none", "-no-reboot", "-vga", "none")
    boot = ("-kernel", str(kernel), "-initrd", str(initrd), *options)
    network = ("-netdev", f"{netdev},id=net", "-device", f"{card},netdev=net,romfile=")
    command = [need_program("qemu-system-x86_64"), *machine, *boot, *network, "-serial", "stdio"]
    try:
        done = subprocess.run(
            command, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=_LONGEST_S, check=False
        )
    except subprocess.TimeoutExpired as error:
        said = (error.stdout or b"").decode(errors="replace") if isinstance(error.stdout, bytes) else error.stdout
        pytest.fail(f"the machine is not over after {_LONGEST_S:g} s; it said: {said}")
    assert done.returncode == 0, done.stderr
    return done.stdout
