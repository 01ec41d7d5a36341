"""The relay's side of the helper process: start it, take over its device, let the command go, wait for its end."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

import anyio

from relay.errors import Unsupported
from relay.wire.addresses import Addresses
from relay.wire.link.tun import TunLink
from relay.wire.namespace.helper import GO, Plan
from relay.wire.packet import dotted

DEVICE = "eth0"
_ANSWER_BYTES = 4096
_PROGRAM = (
    "import sys; sys.path.insert(0, sys.argv.pop(1)); from relay.wire.namespace.helper import main; main(sys.argv[1:])"
)
_ROOT = str(Path(__file__).parents[3])  # where the package is
_OURS = {signal.SIGINT, signal.SIGTERM, signal.SIGQUIT}


class Namespace:
    """A network of its own, and the command that runs in it once it is started."""

    def __init__(self, process: subprocess.Popen[bytes], channel: socket.socket, link: TunLink) -> None:
        self.link = link
        """Where the command's packets come from."""
        self._process = process
        self._channel = channel

    @property
    def pid(self) -> int:
        """The command's process."""
        return self._process.pid

    def start(self) -> None:
        """Let the command run."""
        self._channel.send(GO)
        self._channel.close()

    async def wait(self) -> int:
        """Wait for the command's end, and return its exit status: 128 and the signal's number if one killed it."""
        descriptor = os.pidfd_open(self.pid)
        try:
            await anyio.wait_readable(descriptor)
        finally:
            os.close(descriptor)
        status = self._process.wait()
        return status if status >= 0 else 128 - status

    def send_signal(self, number: int) -> None:
        """Send the command a signal; harmless if it has ended."""
        self._process.send_signal(number)

    def close(self) -> None:
        """End the command, if it has not ended, and the network with it."""
        self._channel.close()
        if self._process.poll() is None:
            self._process.kill()
            self._process.wait()
        self.link.close()


async def open_namespace(
    command: Sequence[str],
    addresses: Addresses,
    *,
    mtu: int = 1500,
    offload: bool = False,
    map_root: bool = False,
    files: Mapping[str, str] | None = None,
) -> Namespace:
    """Make the network, and a process in it that becomes `command` when it is started.

    The command keeps the caller's user (with `map_root` it sees itself as root), directory, environment, terminal and
    standard streams. `files` are paths and what the command is to read there; without it that is an /etc/resolv.conf
    that names the NAT's DNS server. The command dies with the thread that called.

    Raises:
        Unsupported: this host does not let it; the hint names the switch.
    """
    if files is None:
        files = {"/etc/resolv.conf": f"nameserver {dotted(addresses.dns)}\n"}
    before = signal.pthread_sigmask(signal.SIG_BLOCK, _OURS)
    try:
        plan = Plan(
            device=DEVICE,
            mtu=mtu,
            guest=addresses.guest,
            prefix=addresses.prefix,
            broadcast=addresses.broadcast,
            gateway=addresses.gateway,
            offload=offload,
            map_root=map_root,
            files=dict(files),
            blocked=[int(number) for number in before],
        )
        process, channel = _spawn(plan, command)
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
    try:
        await anyio.wait_readable(channel)
        answer, descriptors, _, _ = socket.recv_fds(channel, _ANSWER_BYTES, 1)
        if not descriptors:
            raise _refusal(answer)
        return Namespace(process, channel, TunLink(descriptors[0], DEVICE, mtu, offload=offload))
    except BaseException:
        process.kill()
        process.wait()
        channel.close()
        raise


def _spawn(plan: Plan, command: Sequence[str]) -> tuple[subprocess.Popen[bytes], socket.socket]:
    ours, its = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    plan_json = json.dumps({name: getattr(plan, name) for name in Plan.__slots__})
    words = [
        sys.executable,
        "-I",
        "-S",
        "-c",
        _PROGRAM,
        _ROOT,
        str(its.fileno()),
        str(os.getpid()),
        plan_json,
        *command,
    ]
    with its:
        process = subprocess.Popen(words, pass_fds=(its.fileno(),))
    return process, ours


def _refusal(answer: bytes) -> Unsupported:
    told = json.loads(answer or b'{"step": "start", "errno": 0}')
    return Unsupported(f"relay run: {told['step']}: {os.strerror(told['errno'])}")
