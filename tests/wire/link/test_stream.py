"""Frames on a stream, as QEMU sends them: any cut into pieces, guests that come and go, guests that do not read."""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import anyio
import anyio.lowlevel
import pytest

from relay.address import Endpoint
from relay.errors import ConfigError
from relay.wire.link.opening import open_link
from relay.wire.link.spec import StreamSpec
from relay.wire.link.stream import StreamLink
from support.bench import DEADLINE_S
from support.links import watched
from support.ports import free_port

pytestmark = [pytest.mark.anyio, pytest.mark.usefixtures("readiness")]

SHORTEST, LONGEST = bytes(range(14)), bytes(range(250)) * 262 + bytes(49)
FRAMES = [SHORTEST, b"f" * 1514, b"g" * 60, LONGEST]
END = b""


def framed(*frames: bytes) -> bytes:
    return b"".join(len(frame).to_bytes(4) + frame for frame in frames)


def read_frames(sock: socket.socket, count: int, begin: bytes = b"") -> list[bytes]:
    """So many frames of the relay's, of which `begin` was read already."""
    data, frames = bytearray(begin), list[bytes]()
    while len(frames) < count:
        length = int.from_bytes(data[:4])
        if len(data) >= 4 + length > 4:
            frames.append(bytes(data[4 : 4 + length]))
            del data[: 4 + length]
        else:
            more = sock.recv(1 << 16)
            assert more, f"the stream ended after {len(frames)} of {count} frames"
            data += more
    assert not data
    return frames


@pytest.fixture(params=["unix", "tcp"])
def link(request: pytest.FixtureRequest, tmp_path: Path) -> StreamLink:
    """A link that listens."""
    place = str(tmp_path / "guest") if request.param == "unix" else Endpoint("127.0.0.1", 0)
    opened = open_link(StreamSpec(place))
    assert isinstance(opened, StreamLink)
    return opened


@pytest.fixture
def connect(link: StreamLink) -> Iterator[Callable[[], socket.socket]]:
    """Connects as a guest does."""
    opened: list[socket.socket] = []

    def connected() -> socket.socket:
        assert link._listener is not None
        sock = socket.socket(link._listener.family)
        sock.settimeout(DEADLINE_S)
        sock.connect(link._listener.getsockname())
        opened.append(sock)
        return sock

    yield connected
    for sock in opened:
        sock.close()


async def test_frames_pass_both_ways(link: StreamLink, connect: Callable[[], socket.socket]) -> None:
    async with watched(link) as received:
        guest = connect()
        guest.sendall(framed(*FRAMES))
        assert await received.until_count(4) == FRAMES
        for frame in FRAMES[:3]:
            assert link.send((frame[:14], memoryview(frame)[14:]))
        assert read_frames(guest, 3) == FRAMES[:3]
        assert link.dropped == 0


@pytest.mark.parametrize("size", [1, 3, 5, 100])
async def test_frames_may_come_in_pieces(link: StreamLink, connect: Callable[[], socket.socket], size: int) -> None:
    data = framed(SHORTEST, b"f" * 60, SHORTEST)
    async with watched(link) as received:
        guest = connect()
        for at in range(0, len(data), size):
            guest.sendall(data[at : at + size])
            await anyio.lowlevel.checkpoint()
        assert await received.until_count(3) == [SHORTEST, b"f" * 60, SHORTEST]


async def test_a_megabyte_of_frames_arrives_in_order(link: StreamLink, connect: Callable[[], socket.socket]) -> None:
    frames = [number.to_bytes(4) * (4 + number % 377) for number in range(1500)]
    async with watched(link) as received:
        guest = connect()
        await anyio.to_thread.run_sync(guest.sendall, framed(*frames))
        assert await received.until_count(len(frames)) == frames


@pytest.mark.parametrize("length", [0, 13, 65550, 0xFFFFFFFF])
async def test_a_length_that_no_frame_has_ends_the_connection(
    link: StreamLink, connect: Callable[[], socket.socket], length: int
) -> None:
    async with watched(link) as received:
        guest = connect()
        guest.sendall(framed(SHORTEST) + length.to_bytes(4) + bytes(100))
        assert await received.until_count(1) == [SHORTEST]
        await received.until(lambda: link._guest is None)
        with suppress(ConnectionResetError):
            assert guest.recv(1) == END


@pytest.mark.parametrize("how", ["FIN", "half a frame"])
async def test_after_a_guest_leaves_the_next_is_served(
    link: StreamLink, connect: Callable[[], socket.socket], how: str
) -> None:
    async with watched(link) as received:
        for number in range(3):
            guest = connect()
            guest.sendall(framed(SHORTEST) + (b"\0\0\0\x0e\0" if how != "FIN" else b""))
            await received.until_count(number + 1)
            assert link.send((SHORTEST,))
            assert read_frames(guest, 1) == [SHORTEST]
            guest.close()
            await received.until(lambda: link._guest is None)
            assert not link.send((SHORTEST,))
        assert link.dropped == 3


async def test_a_second_guest_is_turned_away_and_the_first_is_served_on(
    link: StreamLink, connect: Callable[[], socket.socket]
) -> None:
    async with watched(link) as received:
        first = connect()
        first.sendall(framed(SHORTEST))
        await received.until_count(1)
        second = connect()
        assert await anyio.to_thread.run_sync(second.recv, 1) == END
        first.sendall(framed(SHORTEST))
        await received.until_count(2)


async def test_what_a_guest_does_not_take_is_lost_a_frame_at_a_time(
    link: StreamLink, connect: Callable[[], socket.socket]
) -> None:
    """Afterwards the stream is whole: frames are missing, no piece of one is."""
    async with watched(link) as received:
        guest = connect()
        guest.sendall(framed(SHORTEST))
        await received.until_count(1)
        sent = []
        for number in range(20_000):
            frame = number.to_bytes(4) * 350
            if link.send((frame,)):
                sent.append(frame)
            elif link.dropped > 10:
                break
        assert 0 < len(sent) < 20_000
        begin = guest.recv(1 << 17)  # there is room again; but the rest of one frame goes before any other
        assert link._guest is not None
        if link._guest._unsent:
            assert not link.send((SHORTEST,))
        assert await anyio.to_thread.run_sync(read_frames, guest, len(sent), begin) == sent
        await received.until(lambda: not (link._guest and link._guest._unsent))
        assert link.send((SHORTEST,))
        assert read_frames(guest, 1) == [SHORTEST]


async def test_a_dialling_link_waits_for_its_listener_and_dials_again_when_it_is_over(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("relay.wire.link.stream._REDIAL_S", 0.02)
    path = tmp_path / "qemu"
    link = open_link(StreamSpec(str(path), dials=True))
    async with watched(link) as received:
        await anyio.sleep(0.05)  # it is in vain so far
        with socket.socket(socket.AF_UNIX) as listener:
            listener.bind(str(path))
            listener.listen()
            listener.settimeout(DEADLINE_S)
            for number in range(2):
                guest, _ = await anyio.to_thread.run_sync(listener.accept)
                with guest:
                    guest.sendall(framed(SHORTEST))
                    await received.until_count(number + 1)
                    assert link.send((SHORTEST,))
                    assert await anyio.to_thread.run_sync(read_frames, guest, 1) == [SHORTEST]


async def test_a_dialling_link_does_not_give_up_a_refused_address(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("relay.wire.link.stream._REDIAL_S", 0.02)
    port = free_port()
    link = open_link(StreamSpec(Endpoint("127.0.0.1", port), dials=True))
    async with watched(link) as received:
        assert not link.send((SHORTEST,))
        await anyio.sleep(0.1)
        with socket.create_server(("127.0.0.1", port)) as listener:
            listener.settimeout(DEADLINE_S)
            guest, _ = await anyio.to_thread.run_sync(listener.accept)
            with guest:
                guest.sendall(framed(SHORTEST))
                await received.until_count(1)


async def test_a_closed_link_is_silent(link: StreamLink, connect: Callable[[], socket.socket]) -> None:
    async with watched(link) as received:
        guest = connect()
        guest.sendall(framed(SHORTEST))
        await received.until_count(1)
        link.close()
        link.close()
        assert guest.recv(1) == END
        assert link.receive() is None
        assert not link.send((SHORTEST,))


async def test_a_path_is_for_its_owner_alone_and_goes_with_the_link(tmp_path: Path) -> None:
    path = tmp_path / "guest"
    async with watched(open_link(StreamSpec(str(path)))):
        assert path.stat().st_mode & 0o777 == 0o600
    assert not path.exists()


async def test_a_path_that_a_dead_relay_has_left_is_taken_over(tmp_path: Path) -> None:
    path = tmp_path / "guest"
    with socket.socket(socket.AF_UNIX) as left:
        left.bind(str(path))
    async with watched(open_link(StreamSpec(str(path)))):
        with socket.socket(socket.AF_UNIX) as guest:
            guest.connect(str(path))


@pytest.mark.parametrize("what", ["a listener", "a file", "a missing directory"])
async def test_a_path_that_cannot_be_had_is_named(tmp_path: Path, what: str) -> None:
    path = tmp_path / ("missing/guest" if what == "a missing directory" else "guest")
    with socket.socket(socket.AF_UNIX) as other:
        if what == "a listener":
            other.bind(str(path))
            other.listen()
        elif what == "a file":
            path.write_text("kept")
        with pytest.raises(ConfigError, match=rf"^--wire: cannot listen on {path}: ") as raised:
            open_link(StreamSpec(str(path)))
    assert raised.value.hint
    assert what != "a file" or path.read_text() == "kept"


async def test_an_address_that_cannot_be_had_is_named() -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        place = Endpoint("127.0.0.1", other.getsockname()[1])
        with pytest.raises(ConfigError, match=rf"--wire: cannot listen on {place}: address already in use"):
            open_link(StreamSpec(place))
