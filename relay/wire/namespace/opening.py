"""The relay's side of the helper process: start it, take over its device, let the command go, wait for its end."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path

import anyio

from relay.loop.forks import close_in_children, held
from relay.wire.addresses import Addresses
from relay.wire.descriptor import Descriptor
from relay.wire.link import Link
from relay.wire.link.ethernet import EthernetLink
from relay.wire.link.packet_socket import PacketLink
from relay.wire.link.tun import TunLink
from relay.wire.namespace.devices import PAIR, TUN
from relay.wire.namespace.helper import GO, Answer, Plan
from relay.wire.namespace.owners import NamespaceOwners
from relay.wire.namespace.refusals import refusal
from relay.wire.packet import dotted

DEVICE = "eth0"
KINDS = (TUN, PAIR)
"""The kinds of device that are tried, in this order."""
_ANSWER_BYTES = 4096
_DESCRIPTORS = 3
_PROGRAM = (
    "import os, sys; sys.path.insert(0, sys.argv.pop(1)); "
    "from relay.wire.namespace.helper import main; os._exit(main(sys.argv[1:]))"
)
_ROOT = str(Path(__file__).parents[3])  # where the package is
_OURS = {signal.SIGINT, signal.SIGQUIT, signal.SIGTERM, signal.SIGHUP}
_ENDS_S = 5.0  # for the helper to kill what is left and go


class Namespace:
    """A network of its own, and the command that runs in it once it is started."""

    def __init__(
        self,
        process: subprocess.Popen[bytes],
        channel: socket.socket,
        link: Link,
        network: Descriptor,
        diagnosis: socket.socket,
        without_processes: int = 0,
    ) -> None:
        self.link = link
        """Where the command's packets come from."""
        self.owners = NamespaceOwners(diagnosis, process.pid)
        """Which of the command's processes has an end of a connection."""
        self.without_processes = without_processes
        """The errno for which the command has no PID namespace of its own; 0 if it has one."""
        self._network = network
        self._process = process
        self._channel = channel

    def start(self) -> None:
        """Let the command run."""
        self._channel.send(GO)

    async def wait(self) -> int:
        """Wait for the command's end, and return its exit status: 128 and the signal's number if one killed it.

        By then all that it had started is gone, too.
        """
        descriptor = os.pidfd_open(self._process.pid)
        try:
            await anyio.wait_readable(descriptor)
        finally:
            os.close(descriptor)
        return self._ended(self._process.wait())

    def send_signal(self, number: int) -> None:
        """Send the command a signal; harmless if it has ended."""
        with suppress(OSError):
            self._channel.send(bytes((number,)))

    def close(self) -> None:
        """Kill the command and all that it has started, if it has not ended, and give up the network."""
        self._channel.close()
        try:
            self._ended(self._process.wait(_ENDS_S))
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._ended(self._process.wait())
        self.link.close()
        self.owners.close()
        self._network.close()

    def _ended(self, status: int) -> int:
        if status < 0 and self._network.fileno() >= 0:  # the helper was killed, so nothing has cleaned up
            _kill_all_in(self._network)
        return status if status >= 0 else 128 - status


async def open_namespace(
    command: Sequence[str],
    addresses: Addresses,
    *,
    mtu: int = 1500,
    offload: bool = False,
    map_root: bool = False,
    files: Mapping[str, str] | None = None,
    kinds: Sequence[str] = KINDS,
) -> Namespace:
    """Make the network, and a process in it that runs `command` when it is started.

    The command keeps the caller's user (with `map_root` it sees itself as root), directory, environment, terminal,
    standard streams, and whatever other descriptors the caller's own parent has passed on. `files` are paths and what
    the command is to read there; without it that is an /etc/resolv.conf that names the NAT's DNS server. `kinds` are
    the kinds of device to try. The command ignores and blocks the signals that the caller does at this moment.

    Raises:
        Unsupported: this host does not let it; the message names the switch.
    """
    if files is None:
        files = {"/etc/resolv.conf": f"nameserver {dotted(addresses.dns)}\n"}
    before = signal.pthread_sigmask(signal.SIG_BLOCK, _OURS)
    try:
        plan = Plan(
            device=DEVICE,
            kinds=list(kinds),
            mtu=mtu,
            offload=offload,
            guest=addresses.guest,
            prefix=addresses.prefix,
            broadcast=addresses.broadcast,
            gateway=addresses.gateway,
            map_root=map_root,
            files=dict(files),
            blocked=[int(number) for number in before],
        )
        process, channel = _spawn(plan, command)
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
    try:
        await anyio.wait_readable(channel)
        message, descriptors = _receive(channel)
        answer = Answer(**json.loads(message)) if message else Answer(step="start")
        if not descriptors:
            raise refusal(answer)
    except BaseException:
        process.kill()
        process.wait()
        channel.close()
        raise
    device, network, diagnosis = descriptors
    link: Link
    if answer.kind == TUN:
        link = TunLink(device, DEVICE, mtu, offload=offload)
    else:
        link = EthernetLink(PacketLink(device, DEVICE, mtu, offload=offload), addresses)
    ours = Descriptor(network), socket.socket(fileno=diagnosis)
    for each in ours:
        close_in_children(each)
    return Namespace(process, channel, link, *ours, answer.without_processes)


def _spawn(plan: Plan, command: Sequence[str]) -> tuple[subprocess.Popen[bytes], socket.socket]:
    with held:
        ours, its = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        close_in_children(ours)  # the helper takes its closing for our end
        close_in_children(its)
    words = [sys.executable, "-I", "-S", "-c", _PROGRAM, _ROOT, str(its.fileno()), plan.to_json(), *command]
    with its:
        return subprocess.Popen(words, pass_fds=(*_passed_on(), its.fileno())), ours


def _passed_on() -> list[int]:
    """The descriptors that were open when this program started: those that Python opens are not inheritable."""
    found = []
    for name in os.listdir("/proc/self/fd"):
        with suppress(OSError):  # the one that lists them
            if int(name) > 2 and os.get_inheritable(int(name)):
                found.append(int(name))
    return found


def _receive(channel: socket.socket) -> tuple[bytes, list[int]]:
    """Return the helper's answer, and the descriptors that came with it: no other program inherits them."""
    message, descriptors, _, _ = socket.recv_fds(channel, _ANSWER_BYTES, _DESCRIPTORS)
    for each in descriptors:
        os.set_inheritable(each, False)
    return message, descriptors


def _kill_all_in(network: Descriptor) -> None:
    identity = os.fstat(network.fileno()).st_ino
    found = True
    while found:  # one may have forked meanwhile
        found = False
        for name in filter(str.isdigit, os.listdir("/proc")):
            with suppress(OSError):
                if os.stat(f"/proc/{name}/ns/net").st_ino == identity:
                    os.kill(int(name), signal.SIGKILL)
                    found = True
