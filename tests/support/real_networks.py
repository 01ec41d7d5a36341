"""Networks of an app's own, each behind a real NAT for as long as its block lasts.

They take root, and are called in a network of the test's own, where the server is.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from support.capabilities import need_program
from support.habits import Way
from support.programs import run

_CLONE_NEWNET = 0x40000000  # sched.h
_UP_S = 60.0


@dataclass(frozen=True)
class Network:
    """A network behind a NAT."""

    pid: int
    """A process in it."""
    host: str
    """What leads from there to the server's host: to its loopback, where the NAT is a program."""

    @property
    def inside(self) -> tuple[str, ...]:
        """The words that run a command in it."""
        return (need_program("nsenter"), "--target", str(self.pid), "--net")

    def way(self, server: int, nothing: int) -> Way:
        """From an app in it to two ports of the server's host."""
        return Way(lambda: _connect(self, server), lambda: _connect(self, nothing))


@contextlib.contextmanager
def behind_slirp4netns() -> Iterator[Network]:
    """libslirp behind a TAP device in a network that is empty."""
    with _own_network() as network:
        told, tell = os.pipe()
        words = ("--configure", "--mtu=1500", f"--ready-fd={tell}", str(network.pid), "tap0")
        with running(need_program("slirp4netns"), *words, pass_fds=(tell,)):
            os.close(tell)
            with open(told, "rb") as said:
                assert said.read(1) == b"1"
            yield Network(network.pid, "10.0.2.2")


@contextlib.contextmanager
def behind_pasta() -> Iterator[Network]:
    """pasta, in a network between the app's and this one, whose address the app's has as well."""
    with _between() as nat, _own_network("--user", "--map-root-user") as guest:  # pasta enters such a one alone
        _do(*nat.inside, need_program("ip"), "route", "add", "default", "via", "203.0.113.254")  # pasta looks for one
        words = ("--foreground", "--quiet", "--config-net", "--runas", "0", str(guest.pid))
        with running(*nat.inside, need_program("pasta"), *words):
            _wait_for_route(guest)
            yield Network(guest.pid, nat.host)


@contextlib.contextmanager
def behind_masquerade(timeouts: Mapping[str, int], *, loose: bool = True) -> Iterator[Network]:
    """The kernel's NAT, in a network between the app's and this one; `timeouts` are nf_conntrack_tcp_timeout_*.

    Where it is not `loose`, a segment from the middle of a connection makes no mapping.
    """
    with _between() as nat, _own_network() as guest:
        ip, nft = need_program("ip"), need_program("nft")
        inner = ("to_guest", "type", "veth", "peer", "name", "eth0", "netns", str(guest.pid))
        _do(*nat.inside, ip, "link", "add", *inner)
        for where, address, device in ((nat, "10.9.0.1/24", "to_guest"), (guest, "10.9.0.2/24", "eth0")):
            _do(*where.inside, ip, "address", "add", address, "dev", device)
            _do(*where.inside, ip, "link", "set", device, "up")
        _do(*guest.inside, ip, "route", "add", "default", "via", "10.9.0.1")
        _do(*nat.inside, nft, "table ip nat { chain out { type nat hook postrouting priority 100; }; }")
        _do(*nat.inside, nft, "add rule ip nat out oif far masquerade")
        settings = {f"timeout_{name}": seconds for name, seconds in timeouts.items()} | {"loose": int(loose)}
        assignments = (f"net.netfilter.nf_conntrack_tcp_{name}={value}" for name, value in settings.items())
        _do(*nat.inside, "sysctl", "-qw", "net.ipv4.ip_forward=1", *assignments)
        yield Network(guest.pid, nat.host)


@contextlib.contextmanager
def _between() -> Iterator[Network]:
    """A network that is next to this one, which has the address 203.0.113.1 there."""
    ip = need_program("ip")
    with _own_network() as nat:
        _do(ip, "link", "add", "near", "type", "veth", "peer", "name", "far", "netns", str(nat.pid))
        _do(ip, "address", "add", "203.0.113.1/24", "dev", "near")
        _do(ip, "link", "set", "near", "up")
        _do(*nat.inside, ip, "address", "add", "203.0.113.2/24", "dev", "far")
        _do(*nat.inside, ip, "link", "set", "far", "up")
        try:
            yield Network(nat.pid, "203.0.113.1")
        finally:
            _do(ip, "link", "del", "near")


@contextlib.contextmanager
def running(*words: str, **options: object) -> Iterator[subprocess.Popen[bytes]]:
    silent = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    process = subprocess.Popen(words, **{**silent, **options})  # type: ignore[call-overload]
    try:
        yield process
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait()


@contextlib.contextmanager
def _own_network(*more: str) -> Iterator[Network]:
    """A network that is empty, and leads nowhere."""
    read, write = os.pipe()
    words = (need_program("unshare"), *more, "--net", "sh", "-c", "echo; exec sleep 300 >&2")
    with running(*words, stdout=write) as process:
        os.close(write)
        with open(read, "rb") as said:
            said.read(1)
        network = Network(process.pid, "")
        _do(*network.inside, need_program("ip"), "link", "set", "lo", "up")
        yield network


def _wait_for_route(network: Network) -> None:
    deadline = time.monotonic() + _UP_S
    while not run(*network.inside, need_program("ip"), "route", "show", "default").stdout:
        assert time.monotonic() < deadline, "there is no default route in it"
        time.sleep(0.02)


def _connect(network: Network, port: int) -> socket.socket:
    """A connection whose socket is in the network."""
    made: list[socket.socket] = []

    def enter_and_make() -> None:
        libc = ctypes.CDLL(None, use_errno=True)
        with open(f"/proc/{network.pid}/ns/net", "rb") as entered:
            if libc.setns(entered.fileno(), _CLONE_NEWNET):
                raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
        made.append(socket.socket())

    thread = threading.Thread(target=enter_and_make)
    thread.start()
    thread.join()
    made[0].settimeout(5)
    try:
        made[0].connect((network.host, port))
    except OSError:
        made[0].close()
        raise
    return made[0]


def _do(*words: str) -> None:
    done = run(*words)
    assert done.returncode == 0, done.stderr
