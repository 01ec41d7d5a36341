"""The ways from a network of one's own to this host: user-space NATs, and a pair of kernel devices."""

from __future__ import annotations

import contextlib
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass


@dataclass(frozen=True)
class Way:
    """One way from a network of its own to this host."""

    name: str
    programs: Sequence[str]
    host: str
    """The address that leads to the server."""
    wrap: Callable[[ExitStack], list[str]]
    """Makes the network, for as long as the stack lasts, and returns what a command is run by in it."""
    is_ours: bool = False


@contextlib.contextmanager
def running(*words: str, **options: object) -> Iterator[subprocess.Popen[bytes]]:
    """A program that runs for as long as the block lasts."""
    process = subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, **options)  # type: ignore[call-overload]
    try:
        yield process
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait()


@contextlib.contextmanager
def _own_network() -> Iterator[int]:
    """A network that is empty; the number of a process in it."""
    with running("unshare", "--net", "sleep", "300") as process:
        time.sleep(0.2)
        yield process.pid


def _inside(pid: int) -> list[str]:
    return ["nsenter", "--target", str(pid), "--net"]


def _by_veth(stack: ExitStack) -> list[str]:
    pid = stack.enter_context(_own_network())
    subprocess.run(["ip", "link", "add", "near", "type", "veth", "peer", "name", "far", "netns", str(pid)], check=True)
    stack.callback(subprocess.run, ["ip", "link", "del", "near"], check=False)
    subprocess.run(["ip", "address", "add", "10.9.0.1/24", "dev", "near"], check=True)
    subprocess.run(["ip", "link", "set", "near", "up"], check=True)
    inside = _inside(pid)
    subprocess.run([*inside, "ip", "address", "add", "10.9.0.2/24", "dev", "far"], check=True)
    subprocess.run([*inside, "ip", "link", "set", "far", "up"], check=True)
    return inside


def _by_slirp(stack: ExitStack) -> list[str]:
    pid = stack.enter_context(_own_network())
    stack.enter_context(running("slirp4netns", "--configure", "--mtu=1500", str(pid), "tap0"))
    time.sleep(0.5)
    return _inside(pid)


def _by_pasta(stack: ExitStack) -> list[str]:
    shut = [word for ports in ("-t", "-u", "-T", "-U") for word in (ports, "none")]
    return ["pasta", "--config-net", "--runas", "0", "--mtu", "1500", *shut, "--"]


def _by_relay(*options: str) -> Callable[[ExitStack], list[str]]:
    return lambda stack: [sys.executable, "-P", "-m", "relay", "run", *options, "--"]


WAYS = (
    Way("veth", ("iperf3",), "10.9.0.1", _by_veth),
    Way("slirp4netns", ("slirp4netns", "iperf3"), "10.0.2.2", _by_slirp),
    Way("pasta", ("pasta", "iperf3"), "198.51.100.1", _by_pasta),
    *(
        Way(
            f"relay, {profile}, {backend}, offload {offload}",
            ("iperf3",),
            "192.168.127.1",
            _by_relay(*words),
            is_ours=True,
        )
        for profile, backend, offload in (
            ("vmware-fusion", "asyncio", "auto"),
            ("vmware-fusion", "trio", "auto"),
            ("transparent", "asyncio", "auto"),
            ("vmware-fusion", "asyncio", "off"),
        )
        if (words := ("--profile", profile, "--backend", backend, "--offload", offload))
    ),
)
