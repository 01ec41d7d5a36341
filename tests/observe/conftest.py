"""A host for the providers, connections for them to watch, and peers in other processes and network namespaces."""

from __future__ import annotations

import contextlib
import heapq
import itertools
import os
import select
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from relay.observe import Pollable, Provider, save_syn

DEADLINE_S = 60.0
PEER = Path(__file__).with_name("peer.py")
REPOSITORY = Path(__file__).parents[2]


class Call:
    def __init__(self, callback: Callable[[], None]) -> None:
        self.callback: Callable[[], None] | None = callback

    def cancel(self) -> None:
        self.callback = None


class EpollHost:
    """Timers in a heap, sockets in an edge-triggered epoll, turned by `run_until`."""

    def __init__(self) -> None:
        self._epoll = select.epoll()
        self._callbacks: dict[int, Callable[[], None]] = {}
        self._due: list[tuple[float, int, Call]] = []
        self._order = itertools.count()

    def call_later(self, delay_s: float, callback: Callable[[], None]) -> Call:
        call = Call(callback)
        heapq.heappush(self._due, (time.monotonic() + delay_s, next(self._order), call))
        return call

    def watch_readable(self, sock: Pollable, callback: Callable[[], None]) -> Callable[[], None]:
        number = sock.fileno()
        self._callbacks[number] = callback
        self._epoll.register(number, select.EPOLLIN | select.EPOLLET)

        def unwatch() -> None:
            if self._callbacks.pop(number, None) is not None:
                self._epoll.unregister(number)

        return unwatch

    def run_until(self, predicate: Callable[[], bool], timeout_s: float = DEADLINE_S) -> bool:
        """Turn until `predicate` holds; False if it did not within `timeout_s`."""
        deadline_s = time.monotonic() + timeout_s
        while not predicate():
            now_s = time.monotonic()
            if now_s >= deadline_s:
                return False
            next_s = min(deadline_s, self._due[0][0]) if self._due else deadline_s
            # A predicate may hold by something the host knows nothing of: look again after a millisecond.
            for number, _ in self._epoll.poll(min(max(next_s - now_s, 0.0), 0.001)):
                if number in self._callbacks:
                    self._callbacks[number]()
            while self._due and self._due[0][0] <= time.monotonic():
                callback = heapq.heappop(self._due)[2].callback
                if callback is not None:
                    callback()
        return True

    def run_for(self, duration_s: float) -> None:
        """Turn for so long: for claims that something does *not* happen."""
        self.run_until(lambda: False, duration_s)

    @property
    def pending(self) -> int:
        """How many calls are due that were not called off."""
        return sum(call.callback is not None for _, _, call in self._due)

    def close(self) -> None:
        self._epoll.close()


@pytest.fixture
def host() -> Iterator[EpollHost]:
    it = EpollHost()
    yield it
    it.close()


Connect = Callable[..., tuple[socket.socket, socket.socket]]


@pytest.fixture
def connect() -> Iterator[Connect]:
    """Make a connection on loopback: the client's socket, with a TOS byte set before its SYN, and the accepted one."""
    with contextlib.ExitStack() as stack:
        listeners: dict[tuple[str, str], socket.socket] = {}

        def make(
            tos: int = 0, *, to: str = "127.0.0.1", bound_to: str | None = None, covered_by: Provider | None = None
        ) -> tuple[socket.socket, socket.socket]:
            bind = bound_to if bound_to is not None else to
            if (to, bind) not in listeners:
                family = socket.AF_INET6 if ":" in bind else socket.AF_INET
                dual = bind == "::"
                listener = socket.create_server((bind, 0), family=family, backlog=1024, dualstack_ipv6=dual)
                listener.settimeout(DEADLINE_S)
                save_syn(listener)
                listeners[to, bind] = stack.enter_context(listener)
            listener = listeners[to, bind]
            if covered_by is not None:
                covered_by.cover(listener, 0xE0)
            client = stack.enter_context(socket.socket(socket.AF_INET6 if ":" in to else socket.AF_INET))
            client.settimeout(DEADLINE_S)
            client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            set_tos(client, tos)
            client.connect((to, listener.getsockname()[1]))
            accepted = stack.enter_context(listener.accept()[0])
            accepted.setblocking(False)
            return client, accepted

        yield make


def set_tos(sock: socket.socket, tos: int) -> None:
    sock.setsockopt(socket.IPPROTO_IP, socket.IP_TOS, tos)


def readable(sock: socket.socket) -> bytes:
    """Return what can be read from a non-blocking socket now, and leave it there."""
    try:
        return sock.recv(65536, socket.MSG_PEEK)
    except BlockingIOError:
        return b""


def reset(sock: socket.socket) -> None:
    """Close with an RST, so that no TIME-WAIT stays behind."""
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\x00\x00\x00\x00\x00\x00\x00")
    sock.close()


@dataclass
class Peer:
    """A client in another process, told line by line what to do (`peer.py`)."""

    process: subprocess.Popen[str]

    def tell(self, command: str) -> str:
        """Have a command done, and return the peer's answer."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(command + "\n")
        self.process.stdin.flush()
        return self.process.stdout.readline().strip()


@contextlib.contextmanager
def peer_process(*prefix: str) -> Iterator[Peer]:
    """Start a peer, by way of a command such as `ip netns exec NAME`."""
    command = [*prefix, sys.executable, "-I", str(PEER)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        try:
            yield Peer(process)
        finally:
            process.kill()


@dataclass(frozen=True)
class Namespace:
    """A network namespace at the other end of a cable."""

    name: str
    our_address: str
    its_address: str


def lacking(capability: str) -> str | None:
    """Return why this host lacks a capability, or None if it has it."""
    if capability == "root":
        return None if os.geteuid() == 0 else "root: to become another user, or to set up a network namespace"
    if capability == "linux":
        return None if sys.platform == "linux" else "Linux"
    if capability in _PROGRAMS:
        return None if shutil.which(capability) else f"the program {capability} ({_PROGRAMS[capability]})"
    status = dict(line.split(":\t", 1) for line in Path("/proc/self/status").read_text().splitlines() if ":\t" in line)
    has = int(status["CapEff"], 16) >> _CAPABILITIES[capability] & 1
    return None if has else f"{capability.upper()}"


_CAPABILITIES = {"cap_net_admin": 12, "cap_net_raw": 13, "cap_bpf": 39}
_PROGRAMS = {"ip": "iproute2", "setpriv": "util-linux"}


@pytest.fixture
def require() -> Callable[..., None]:
    """Skip the test where the host lacks something, and say what; in CI nothing may be lacking."""

    def check(*capabilities: str) -> None:
        for capability in capabilities:
            reason = lacking(capability)
            if reason is not None:
                refuse = pytest.fail if os.environ.get("CI") == "true" else pytest.skip
                refuse(f"this host lacks {reason}")

    return check


@pytest.fixture
def namespace(require: Callable[..., None]) -> Iterator[Namespace]:
    """A network namespace of its own, with a veth pair between it and ours."""
    require("linux", "root", "ip", "cap_net_admin")
    name, link, far_link = (f"relay{kind}{os.getpid()}" for kind in "nab")
    # A subnet of its own for each process, as two test runs may go on at once.
    subnet = f"10.{200 + os.getpid() // 256 % 50}.{os.getpid() % 256}"
    it = Namespace(name, f"{subnet}.1", f"{subnet}.2")

    def ip(*arguments: str, check: bool = True) -> None:
        subprocess.run(["ip", *arguments], check=check, capture_output=True)

    try:
        ip("netns", "add", name)
        ip("link", "add", link, "type", "veth", "peer", "name", far_link, "netns", name)
        ip("addr", "add", f"{it.our_address}/30", "dev", link)
        ip("link", "set", link, "up")
        ip("-n", name, "addr", "add", f"{it.its_address}/30", "dev", far_link)
        ip("-n", name, "link", "set", far_link, "up")
        ip("-n", name, "link", "set", "lo", "up")
        yield it
    finally:
        ip("link", "del", link, check=False)
        ip("netns", "del", name, check=False)


@pytest.fixture
def remote(namespace: Namespace) -> Iterator[tuple[Namespace, Peer, socket.socket]]:
    """A peer at the other end of a cable, and the socket that accepted it."""
    with socket.create_server((namespace.our_address, 0)) as listener:
        listener.settimeout(60)
        with peer_process("ip", "netns", "exec", namespace.name) as peer:
            peer.tell(f"connect {namespace.our_address} {listener.getsockname()[1]}")
            accepted, _ = listener.accept()
            with accepted:
                accepted.setblocking(False)
                yield namespace, peer, accepted


Remote = tuple[Namespace, Peer, socket.socket]
