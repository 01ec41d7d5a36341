"""A worker's outbox: what does not fit is counted, and nothing waits for a parent that does not read."""

from __future__ import annotations

import socket
import time
from collections.abc import Iterator

import anyio
import pytest

from relay.log import EventLog, Record
from relay.workers.channel import Channel, Done
from relay.workers.outbox import QUEUE_BYTES, Outbox

pytestmark = pytest.mark.anyio

TEXT = "x" * 10_000
FIT = QUEUE_BYTES // len(TEXT)


@pytest.fixture
def pair() -> Iterator[tuple[socket.socket, socket.socket]]:
    """The two ends of a channel."""
    ends = socket.socketpair()
    for end in ends:
        end.setblocking(False)
    with ends[0], ends[1]:
        yield ends


async def hear(channel: Channel, last: Done) -> list[object]:
    """All that is said up to a message."""
    heard: list[object] = []
    while not heard or heard[-1] != last:
        heard.append(await channel.receive())
    return heard


async def test_what_does_not_fit_is_counted_and_said_in_its_place(pair: tuple[socket.socket, socket.socket]) -> None:
    log = EventLog()
    outbox, parent = Outbox(pair[0], log), Channel(pair[1])
    log.subscribe(outbox.record)
    numbers = iter(range(100_000))

    def emit(count: int) -> None:
        for _ in range(count):
            log.emit("note", text=TEXT, because=str(next(numbers)))

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(outbox.run)
        heard: list[object] = []
        for waited in (1, 2):
            emit(3 * FIT)
            outbox.put(Done(waited))  # there is always room for this
            with anyio.fail_after(20):
                heard += await hear(parent, Done(waited))
            await anyio.wait_all_tasks_blocked()
            emit(5)
        outbox.put(Done(3))
        heard += await hear(parent, Done(3))
        tasks.cancel_scope.cancel()

    expected = 0
    gaps = []
    for message in heard:
        match message:
            case Record(event="records-dropped", fields=fields):
                gaps.append(fields["records"])
                expected += fields["records"]
            case Record(fields=fields):
                assert fields["because"] == str(expected)
                expected += 1
    assert expected == next(numbers)
    assert len(gaps) == 2
    assert all(FIT < gap < 3 * FIT for gap in gaps)


@pytest.mark.usefixtures("anyio_backend")
async def test_finishing_sends_what_is_left_and_gives_up_in_time(pair: tuple[socket.socket, socket.socket]) -> None:
    log = EventLog()
    outbox, parent = Outbox(pair[0], log), Channel(pair[1])
    outbox.put(Done(1))
    outbox.finish(20)
    assert await parent.receive() == Done(1)
    for _ in range(2 * FIT):
        outbox.record(log.record("note", text=TEXT, because=""))
    began_s = time.monotonic()
    outbox.finish(0.05)
    assert time.monotonic() - began_s >= 0.05
    parent.close()
    outbox.finish(1000)
    outbox.record(log.record("note", text=TEXT, because=""))
    outbox.finish(1000)
