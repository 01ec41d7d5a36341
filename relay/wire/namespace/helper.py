"""The helper process: makes the namespaces, says so, waits for "go", and runs the command.

It runs in a fresh interpreter without site packages, and imports little: its start is what a user waits for.
"""

from __future__ import annotations

import json
import os
import socket
from contextlib import suppress
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path

from relay.wire.namespace import kernel
from relay.wire.namespace.devices import open_device, set_up
from relay.wire.namespace.mounts import Covers
from relay.wire.namespace.netlink import Netlink
from relay.wire.namespace.processes import find_obstacle, run_apart
from relay.wire.namespace.supervise import supervise

GO = b"\0"
_NETLINK_SOCK_DIAG = 4  # linux/netlink.h


@dataclass(frozen=True, slots=True)
class Plan:
    """What the helper is to make. Addresses are 32-bit integers."""

    device: str
    kinds: list[str]
    """Which kinds of device to try, in this order."""
    mtu: int
    offload: bool
    guest: int
    prefix: int
    broadcast: int
    gateway: int
    map_root: bool
    files: dict[str, str]
    """What these files are to read as."""
    blocked: list[int]
    """The signals that the command starts with blocked."""

    def to_json(self) -> str:
        return json.dumps(asdict(self))


@dataclass(frozen=True, slots=True)
class Answer:
    """What the helper says, with three descriptors: the device, the network namespace, a socket to ask about sockets.

    Without descriptors it has failed, in the `step` of this name.
    """

    kind: str = ""
    without_processes: int = 0
    """The errno for which the command has no PID namespace; 0 if it has one."""
    step: str = ""
    number: int = 0
    file: str = ""

    def to_json(self) -> bytes:
        return json.dumps(asdict(self)).encode()


def main(arguments: list[str]) -> int:
    """Run with the channel's descriptor, the plan, and the command's words; return the exit status."""
    channel, plan, command = socket.socket(fileno=int(arguments[0])), Plan(**json.loads(arguments[1])), arguments[2:]
    channel.set_inheritable(False)
    steps = ["user"]
    try:
        _enter(plan.map_root, steps)
        steps.append("device")
        kind, device = open_device(plan.device, plan.kinds, mtu=plan.mtu, offload=plan.offload)
        steps.append("network")
        with Netlink() as netlink:
            set_up(
                netlink,
                plan.device,
                mtu=plan.mtu,
                guest=plan.guest,
                prefix=plan.prefix,
                broadcast=plan.broadcast,
                gateway=plan.gateway,
            )
        _let_ping(plan.map_root)
        steps.append("files")
        covers = Covers(plan.files)
        obstacle = find_obstacle()
    except OSError as error:
        channel.send(Answer(step=steps[-1], number=error.errno or 0, file=str(error.filename or "")).to_json())
        return 1
    try:
        _hand_over(channel, Answer(kind=kind, without_processes=obstacle), device)
        told = channel.recv(1)
    except OSError:  # the relay is gone
        return 1
    if told != GO:
        return 1
    run = partial(supervise, command, plan.blocked, channel, covers)
    return run_apart(run) if not obstacle else run()


def _enter(map_root: bool, steps: list[str]) -> None:
    """Enter new namespaces; where this process may not without a user namespace, in one of those."""
    if os.geteuid() == 0:
        with suppress(OSError):
            kernel.unshare(kernel.CLONE_NEWNET | kernel.CLONE_NEWNS)
            return
    uid, gid = os.geteuid(), os.getegid()
    kernel.unshare(kernel.CLONE_NEWUSER)
    steps.append("mapping")
    Path("/proc/self/setgroups").write_text("deny")  # else gid_map is not for the unprivileged
    Path("/proc/self/uid_map").write_text(f"{0 if map_root else uid} {uid} 1")
    Path("/proc/self/gid_map").write_text(f"{0 if map_root else gid} {gid} 1")
    steps.append("namespaces")
    kernel.unshare(kernel.CLONE_NEWNET | kernel.CLONE_NEWNS)


def _let_ping(map_root: bool) -> None:
    """Let the command's group have ping sockets, if /proc/sys can be written to."""
    gid = 0 if map_root else os.getegid()
    with suppress(OSError):
        Path("/proc/sys/net/ipv4/ping_group_range").write_text(f"{gid} {gid}")


def _hand_over(channel: socket.socket, answer: Answer, device: int) -> None:
    namespace = os.open("/proc/self/ns/net", os.O_RDONLY)
    family = getattr(socket, "AF_NETLINK")  # noqa: B009 - only on Linux
    with socket.socket(family, socket.SOCK_RAW, _NETLINK_SOCK_DIAG) as diagnosis:
        socket.send_fds(channel, [answer.to_json()], [device, namespace, diagnosis.fileno()])
    os.close(device)
    os.close(namespace)
