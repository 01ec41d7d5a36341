"""A frame a datagram: who the guest is, and what becomes of frames that cannot be sent."""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from relay.address import Endpoint
from relay.wire.link.datagram import DatagramLink
from relay.wire.link.opening import open_link
from relay.wire.link.spec import DatagramSpec
from support.bench import DEADLINE_S
from support.links import watched

pytestmark = [pytest.mark.anyio, pytest.mark.usefixtures("readiness")]

FRAMES = [b"f" * 14, b"g" * 60, b"h" * 1514]
Guest = Callable[[], socket.socket]


@pytest.fixture(params=["unixgram", "udp"])
def link(request: pytest.FixtureRequest, tmp_path: Path) -> DatagramLink:
    place = str(tmp_path / "relay") if request.param == "unixgram" else Endpoint("127.0.0.1", 0)
    opened = open_link(DatagramSpec(place))
    assert isinstance(opened, DatagramLink)
    return opened


@pytest.fixture
def guest(link: DatagramLink, tmp_path: Path) -> Iterator[Guest]:
    """Makes a guest's socket, connected to the link."""
    opened: list[socket.socket] = []

    def made() -> socket.socket:
        sock = socket.socket(link._socket.family, socket.SOCK_DGRAM)
        sock.settimeout(DEADLINE_S)
        is_unix = link._socket.family != socket.AF_INET
        sock.bind(str(tmp_path / f"guest{len(opened)}") if is_unix else ("127.0.0.1", 0))
        sock.connect(link._socket.getsockname())
        opened.append(sock)
        return sock

    yield made
    for sock in opened:
        sock.close()


async def test_frames_pass_both_ways(link: DatagramLink, guest: Guest) -> None:
    async with watched(link) as received:
        sock = guest()
        for frame in FRAMES:
            sock.send(frame)
        assert await received.until_count(3) == FRAMES
        for frame in FRAMES:
            assert link.send((frame[:14], memoryview(frame)[14:]))
        assert [sock.recv(2000) for _ in FRAMES] == FRAMES
        assert link.dropped == 0


async def test_nothing_can_be_sent_before_a_guest_was_heard(link: DatagramLink) -> None:
    async with watched(link):
        assert not link.send((FRAMES[0],))
        assert link.dropped == 1


async def test_a_greeting_of_vfkit_s_is_no_frame_and_makes_its_sender_the_guest(
    link: DatagramLink, guest: Guest
) -> None:
    async with watched(link) as received:
        sock = guest()
        sock.send(b"VFKT")
        await received.until(lambda: link._peer is not None)
        assert link.send((FRAMES[0],))
        assert sock.recv(100) == FRAMES[0]
        sock.send(b"VFKT" + bytes(10))
        assert await received.until_count(1) == [b"VFKT" + bytes(10)]


async def test_another_sender_is_ignored_while_the_guest_is_there(link: DatagramLink, guest: Guest) -> None:
    async with watched(link) as received:
        first, second = guest(), guest()
        first.send(b"from the first")
        await received.until_count(1)
        second.send(b"from the second")
        first.send(b"from the first again")
        assert await received.until_count(2) == [b"from the first", b"from the first again"]


async def test_when_the_guest_is_gone_the_next_to_send_takes_its_place(link: DatagramLink, guest: Guest) -> None:
    async with watched(link) as received:
        first = guest()
        first.send(b"from the first")
        await received.until_count(1)
        first.close()
        if link._socket.family == socket.AF_INET:
            link._heard_s -= 31.0  # the kernel does not say so of UDP; then it is known by its silence
        else:
            assert not link.send((FRAMES[0],))
        second = guest()
        second.send(b"from the second")
        await received.until_count(2)
        assert link.send((FRAMES[1],))
        assert second.recv(100) == FRAMES[1]


async def test_when_the_guest_has_been_silent_for_long_another_takes_its_place(
    link: DatagramLink, guest: Guest, monkeypatch: pytest.MonkeyPatch
) -> None:
    now_s = 100.0
    link._now_s = lambda: now_s
    async with watched(link) as received:
        first, second = guest(), guest()
        first.send(b"from the first")
        await received.until_count(1)
        now_s = 129.0
        second.send(b"too early")
        first.send(b"from the first again")
        await received.until_count(2)
        now_s = 160.0
        second.send(b"from the second")
        assert (await received.until_count(3))[2] == b"from the second"
        assert link.send((FRAMES[0],))
        assert second.recv(100) == FRAMES[0]


async def test_a_guest_that_does_not_read_loses_frames_and_nothing_else(
    link: DatagramLink, guest: Guest, readiness: str
) -> None:
    async with watched(link) as received:
        sock = guest()
        sock.send(FRAMES[0])
        await received.until_count(1)
        if link._socket.family == socket.AF_INET:
            assert not link.send((bytes(65508),)), "longer than a datagram can be"
        else:
            while link.send((FRAMES[2],)):
                pass
            while sock.recv(2000) and received.link.dropped == 0:
                pass
        assert link.dropped == 1
        assert link._peer is not None, "it is there still"
        assert link.send((FRAMES[1],))


async def test_a_guest_that_was_named_is_the_only_one() -> None:
    with (
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as named,
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as other,
    ):
        for sock in (named, other):
            sock.bind(("127.0.0.1", 0))
            sock.settimeout(DEADLINE_S)
        peer = Endpoint(*named.getsockname())
        link = open_link(DatagramSpec(Endpoint("127.0.0.1", 0), peer))
        assert isinstance(link, DatagramLink)
        async with watched(link) as received:
            assert link.send((FRAMES[0],)), "it need not have spoken"
            assert named.recv(100) == FRAMES[0]
            other.sendto(b"from another", link._socket.getsockname())
            named.sendto(b"from the guest", link._socket.getsockname())
            assert await received.until_count(1) == [b"from the guest"]


async def test_a_sender_without_an_address_is_heard(tmp_path: Path) -> None:
    link = open_link(DatagramSpec(str(tmp_path / "relay")))
    async with watched(link) as received:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as nameless:
            nameless.sendto(FRAMES[0], str(tmp_path / "relay"))
            assert await received.until_count(1) == [FRAMES[0]]
            assert not link.send((FRAMES[1],))


async def test_a_closed_link_is_silent_and_its_path_is_gone(tmp_path: Path) -> None:
    path = tmp_path / "relay"
    link = open_link(DatagramSpec(str(path)))
    async with watched(link):
        assert path.stat().st_mode & 0o777 == 0o600
        link.close()
        link.close()
        assert link.receive() is None
        assert not link.send((FRAMES[0],))
    assert not path.exists()
