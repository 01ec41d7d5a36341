"""Which product a NAT may be, by what this host shows of itself and of its network: a hint, and no proof.

Pure: what the host shows is gathered by the probe `guess`. Prefixes of hardware addresses are those that their makers
have from the IEEE, or that the products make up.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Hints:
    """What a host shows. Everything may be empty."""

    gateway_mac: str = ""
    """The hardware address of the way out, in lower case, with colons."""
    resolvers: tuple[str, ...] = ()
    maker: str = ""
    """The machine's maker and model, as its firmware has them (DMI)."""
    kernel: str = ""
    """The kernel's release."""
    cgroup: str = ""
    """The control groups of this process."""
    files: tuple[str, ...] = ()
    """Those of `TELLING_FILES` that there are."""


TELLING_FILES = ("/.dockerenv", "/run/.containerenv", "/var/run/secrets/kubernetes.io/serviceaccount/token")
_MACS = {
    "00:50:56": "VMware",
    "00:0c:29": "VMware",
    "52:54:00:12:35": "VirtualBox",
    "52:55:0a": "QEMU's user network (libslirp)",
    "00:1c:42": "Parallels",
    "00:15:5d": "Hyper-V",
    "5a:94:ef:e4:0c": "gvisor-tap-vsock",
    "42:01": "Google Cloud",
    "02:42": "Docker",
}
_RESOLVERS = {
    "192.168.65.": "Docker Desktop",
    "10.0.2.3": "libslirp or VirtualBox",
    "127.0.0.11": "Docker",
    "192.168.127.1": "gvisor-tap-vsock",
    "169.254.169.254": "Google Cloud",
    "169.254.169.253": "AWS",
    "168.63.129.16": "Azure",
    "10.255.255.254": "WSL",
}
_MAKERS = {
    "vmware": "VMware",
    "innotek": "VirtualBox",
    "virtualbox": "VirtualBox",
    "parallels": "Parallels",
    "amazon ec2": "AWS",
    "google": "Google Cloud",
    "microsoft corporation virtual machine": "Hyper-V or Azure",
    "qemu": "QEMU",
}
_KERNELS = {"microsoft-standard": "WSL 2", "linuxkit": "Docker Desktop"}
_CGROUPS = {"kubepods": "Kubernetes", "docker": "Docker", "libpod": "Podman"}
_FILES = dict(zip(TELLING_FILES, ("Docker", "Podman", "Kubernetes"), strict=True))


def products(hints: Hints) -> list[str]:
    """What the hints point to, each with what does: `WSL 2 (kernel)`."""
    found: dict[str, list[str]] = {}
    for product, by in _pointed_to(hints):
        reasons = found.setdefault(product, [])
        if by not in reasons:
            reasons.append(by)
    return [f"{product} ({', '.join(reasons)})" for product, reasons in found.items()]


def _pointed_to(hints: Hints) -> Iterator[tuple[str, str]]:
    for start, product in _MACS.items():
        if hints.gateway_mac.startswith(start):
            yield product, "hardware address of the gateway"
    for start, product in _RESOLVERS.items():
        if any(resolver.startswith(start) for resolver in hints.resolvers):
            yield product, "name server"
    for words, text, by in (
        (_MAKERS, hints.maker.lower(), "maker of the machine"),
        (_KERNELS, hints.kernel.lower(), "kernel"),
        (_CGROUPS, hints.cgroup, "control group"),
    ):
        for word, product in words.items():
            if word in text:
                yield product, by
    for file in hints.files:
        yield _FILES[file], "file"
