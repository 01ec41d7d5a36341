"""What a test of two workers wants to know: which of them has a connection, and whether a process is gone."""

from __future__ import annotations

import contextlib
import os
import select
import socket
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Protocol

from support.clients import ask
from support.origins import read_exactly
from support.programs import ServedRelay

_MAX_CALLS = 64  # that the kernel's hash gives them all to the same one of two workers happens once in 2**63


class Served(Protocol):
    """A relay of two workers, in a process of its own or in the test's."""

    @property
    def port(self) -> int:
        """Where the proxy listens."""

    def wait_for(self, event: str, **fields: Any) -> Any:
        """The first event of this name with these fields, as a mapping that has its flow as well."""


@dataclass(frozen=True)
class Call:
    """A client's connection through the relay, and where it landed."""

    sock: socket.socket
    flow: int
    worker: int

    def exchange(self) -> None:
        """Send something and have it come back."""
        self.sock.sendall(b"still here?")
        assert read_exactly(self.sock, 11) == b"still here?"


def call(served: Served, origin_port: int, *, tos: int = 0) -> Call:
    """Connect to an echoing origin through the proxy of two workers; `tos` is set before the SYN."""
    sock = socket.socket()
    sock.settimeout(60)
    try:
        sock.setsockopt(socket.IPPROTO_IP, socket.IP_TOS, tos)
        sock.connect(("127.0.0.1", served.port))
        client = f"127.0.0.1:{sock.getsockname()[1]}"
        ask(sock, "socks5", "127.0.0.1", origin_port)
        flow = served.wait_for("flow-opened", client=client)["flow"]
        opened = Call(sock, flow, (flow - 1) % 2 + 1)
        opened.exchange()
    except BaseException:
        sock.close()
        raise
    return opened


@contextlib.contextmanager
def call_both_workers(served: Served, origin_port: int, *, tos: int = 0) -> Iterator[dict[int, Call]]:
    """A connection on each of two workers, by the workers' numbers."""
    calls: dict[int, Call] = {}
    with contextlib.ExitStack() as stack:
        for _ in range(_MAX_CALLS):
            opened = call(served, origin_port, tos=tos)
            stack.callback(opened.sock.close)
            calls.setdefault(opened.worker, opened)
            if len(calls) == 2:
                break
        assert calls.keys() == {1, 2}
        yield calls


def pids_of(served: ServedRelay) -> dict[int, int]:
    """Both workers' processes, by the workers' numbers; of one that was replaced, the latest."""
    served.wait_for_count("worker-started", 2)
    return {event["worker"]: event["pid"] for event in served.events() if event["event"] == "worker-started"}


@contextlib.contextmanager
def processes(*pids: int) -> Iterator[list[int]]:
    """Descriptors of processes that run now; a number that is used again later does not fool them."""
    descriptors = [os.pidfd_open(pid) for pid in pids]
    try:
        yield descriptors
    finally:
        for descriptor in descriptors:
            os.close(descriptor)


def wait_until_gone(descriptors: list[int], timeout_s: float = 60.0) -> None:
    """Wait for the end of processes; their parent need not be this one."""
    for descriptor in descriptors:
        assert select.select([descriptor], [], [], timeout_s)[0], "a process is still there"
