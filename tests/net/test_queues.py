"""What each kernel says of the bytes that it holds, and how many descriptors it allows."""

from __future__ import annotations

import socket
import struct
import sys
import termios
from types import SimpleNamespace

import pytest

from relay.net import descriptors
from relay.net.descriptors import descriptor_limit, raise_descriptor_limit
from relay.net.queues import unread_bytes, unsent_bytes, waiting_bytes
from support.bench import socket_pair
from support.capabilities import missing


def test_linux_counts_what_is_not_acknowledged_not_sent_and_not_read() -> None:
    if sys.platform != "linux":
        missing("SIOCOUTQ is Linux's")
    near, far = socket_pair()
    with near, far:
        near.setblocking(True)
        near.sendall(b"hello")
        far.recv(2)
        assert (unread_bytes(far), waiting_bytes(near), waiting_bytes(far)) == (3, 0, 0)
        assert unsent_bytes(near) in {0, 5}
        assert unsent_bytes(far, fin_sent=True) == 0
    assert (unsent_bytes(near), waiting_bytes(near), unread_bytes(near)) == (None, 0, None)


@pytest.mark.parametrize("count", [0, 7])
def test_linux_counts_a_fin_as_a_byte_and_each_queue_by_itself(count: int, monkeypatch: pytest.MonkeyPatch) -> None:
    if sys.platform != "linux":
        missing("SIOCOUTQ is Linux's")
    answers = {0x5411: count, 0x894B: 3, termios.FIONREAD: 5}
    fake = SimpleNamespace(ioctl=lambda descriptor, request, room: struct.pack("i", answers[request]))
    monkeypatch.setattr("relay.net.queues.fcntl", fake)
    with socket.socket() as sock:
        assert (unsent_bytes(sock), unsent_bytes(sock, fin_sent=True)) == (count, max(count - 1, 0))
        assert (waiting_bytes(sock), unread_bytes(sock)) == (3, 5)


class Counted(socket.socket):
    """A socket of a kernel that counts what is in its send buffer."""

    def getsockopt(self, level: int, option: int) -> int:  # type: ignore[override]
        assert (level, option) == (socket.SOL_SOCKET, 0x1024)
        return 7


@pytest.mark.parametrize(("platform", "unsent"), [("darwin", 7), ("win32", None)])
def test_other_kernels_do_not_tell_sent_bytes_from_others(
    platform: str, unsent: int | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("relay.net.queues.sys", SimpleNamespace(platform=platform))
    with Counted() as sock:
        assert (unsent_bytes(sock), waiting_bytes(sock)) == (unsent, unsent or 0)
        if platform == "win32":
            assert unread_bytes(sock) is None


class Limits:
    """The limits of a process: soft and hard."""

    RLIMIT_NOFILE, RLIM_INFINITY = 7, -1

    def __init__(self, soft: int, hard: int, *, settable: bool = True) -> None:
        self.limits = (soft, hard)
        self._settable = settable

    def getrlimit(self, which: int) -> tuple[int, int]:
        assert which == self.RLIMIT_NOFILE
        return self.limits

    def setrlimit(self, which: int, limits: tuple[int, int]) -> None:
        assert which == self.RLIMIT_NOFILE
        if not self._settable:
            raise ValueError("current limit exceeds maximum limit")
        self.limits = limits


@pytest.mark.parametrize(
    ("limits", "before", "after"),
    [
        (Limits(256, 4096), 256, 4096),
        (Limits(256, -1), 256, None),
        (Limits(256, -1, settable=False), 256, 256),
        (None, None, None),
    ],
)
def test_as_many_descriptors_can_be_opened_as_are_allowed(
    limits: Limits | None, before: int | None, after: int | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(descriptors, "resource", limits)
    assert descriptor_limit() == before
    raise_descriptor_limit()
    assert descriptor_limit() == after
