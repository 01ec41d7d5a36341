"""The helper process: makes the namespaces, says so, waits for "go", and becomes the command.

It runs in a fresh interpreter without site packages, and imports little: its start is what a user waits for.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import sys
from dataclasses import dataclass
from pathlib import Path

from relay.wire.link.tun import open_tun
from relay.wire.namespace import kernel, mounts
from relay.wire.namespace.netlink import Netlink

GO = b"go"


@dataclass(frozen=True, slots=True)
class Plan:
    """What the helper is to make. Addresses are 32-bit integers."""

    device: str
    mtu: int
    guest: int
    prefix: int
    broadcast: int
    gateway: int
    offload: bool
    map_root: bool
    files: dict[str, str]
    """What these files are to read as."""
    blocked: list[int]
    """The signals that the command starts with blocked."""


def main(arguments: list[str]) -> None:
    """Run with the channel's descriptor, the parent's process number, the plan, and the command's words."""
    channel = socket.socket(fileno=int(arguments[0]))
    parent, plan, command = int(arguments[1]), Plan(**json.loads(arguments[2])), arguments[3:]
    kernel.die_with_parent(signal.SIGKILL)
    if os.getppid() != parent:
        return  # it has died meanwhile
    step = ""
    try:
        step = "namespaces"
        _enter(plan.map_root)
        step = "device"
        descriptor = open_tun(plan.device, offload=plan.offload)
        step = "network"
        _configure(plan)
        step = "files"
        mounts.detach_mounts()
        for path, content in plan.files.items():
            mounts.cover_file(path, content)
    except OSError as error:
        channel.send(json.dumps({"step": step, "errno": error.errno}).encode())
        return
    socket.send_fds(channel, [b"{}"], [descriptor])
    os.close(descriptor)
    if channel.recv(len(GO)) == GO:
        channel.close()
        _become(command, plan.blocked)


def _enter(map_root: bool) -> None:
    if os.geteuid() == 0:
        kernel.unshare(kernel.CLONE_NEWNET | kernel.CLONE_NEWNS)
        return
    uid, gid = os.geteuid(), os.getegid()
    kernel.unshare(kernel.CLONE_NEWUSER | kernel.CLONE_NEWNET | kernel.CLONE_NEWNS)
    Path("/proc/self/setgroups").write_text("deny")
    Path("/proc/self/uid_map").write_text(f"{0 if map_root else uid} {uid} 1")
    Path("/proc/self/gid_map").write_text(f"{0 if map_root else gid} {gid} 1")


def _configure(plan: Plan) -> None:
    with Netlink() as netlink:
        netlink.bring_up("lo")
        Path(f"/proc/sys/net/ipv6/conf/{plan.device}/disable_ipv6").write_text("1")
        netlink.bring_up(plan.device, mtu=plan.mtu)
        netlink.add_address(plan.device, plan.guest, plan.prefix, plan.broadcast)
        netlink.add_default_route(plan.device, plan.gateway)


def _become(command: list[str], blocked: list[int]) -> None:
    for number in (signal.SIGPIPE, signal.SIGXFSZ):  # the interpreter ignores them
        signal.signal(number, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_SETMASK, blocked)
    try:
        os.execvp(command[0], command)  # noqa: S606 - the user's own command, as it is
    except OSError as error:
        sys.stderr.write(f"relay: cannot run {command[0]}: {(error.strerror or '').lower()}\n")
        sys.stderr.flush()
        os._exit(127 if isinstance(error, FileNotFoundError) else 126)  # as a shell does
