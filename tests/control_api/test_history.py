"""What a control keeps of the event log, and what those get that follow it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import anyio
import pytest

from relay.control_api import history as module
from relay.control_api.event_stream import event_stream
from relay.control_api.history import Follower, History
from relay.log import EventLog, Record

pytestmark = pytest.mark.anyio


@contextmanager
def limited(seconds: float) -> Iterator[None]:
    assert seconds == 15
    with anyio.move_on_after(0):
        yield


@pytest.fixture
def log() -> EventLog:
    return EventLog()


def say(log: EventLog, *texts: str, flow: int | None = None) -> None:
    for text in texts:
        log.emit("note", flow=flow, text=text, because="a-test")


def texts(records: list[Record]) -> list[str]:
    return [str(record.fields["text"]) for record in records]


async def all_of(follower: Follower) -> list[str]:
    got: list[str] = []
    while batch := await follower.next_batch(limited):
        got += texts(batch)
    return got


async def test_a_follower_gets_the_last_of_what_has_been_and_all_that_comes(log: EventLog) -> None:
    history = History(log)
    say(log, "a", "b", "c")
    followers = [history.follow(earlier) for earlier in (0, 2, 9)]
    say(log, "d")
    assert [await all_of(follower) for follower in followers] == [["d"], ["b", "c", "d"], ["a", "b", "c", "d"]]
    followers[0].leave()
    say(log, "e")
    assert [await all_of(follower) for follower in followers] == [[], ["e"], ["e"]]


async def test_a_follower_waits_for_what_comes(log: EventLog) -> None:
    follower = History(log).follow()
    got: list[str] = []

    async def follow() -> None:
        got.extend(texts(await follower.next_batch(anyio.fail_after)))

    for text in ("one", "two"):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(follow)
            await anyio.wait_all_tasks_blocked()
            say(log, text)
    assert got == ["one", "two"]


async def test_batches_are_of_500_records_at_most(log: EventLog) -> None:
    follower = History(log).follow()
    say(log, *map(str, range(1100)))
    assert [len(await follower.next_batch(limited)) for _ in range(4)] == [500, 500, 100, 0]


async def test_a_follower_that_is_too_far_behind_is_dropped_once(
    log: EventLog, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "BEHIND", 3)
    history, dropped = History(log), []
    say(log, "a", "b", "c", "d")
    follower = history.follow(9)
    follower.drop = lambda: dropped.append(1)
    others = [history.follow() for _ in range(3)]
    say(log, "e")
    assert not dropped
    say(log, "f", "g")
    assert dropped == [1]
    assert [await all_of(other) for other in others] == [["e", "f", "g"]] * 3
    assert await all_of(follower) == ["c", "d", "e"]
    history.follow().put(Record("note", 0.0, None, None, {}))


def test_the_last_records_are_kept_with_those_from_before_it_followed(
    log: EventLog, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert (module.KEPT, module.BEHIND) == (50_000, 10_000)
    monkeypatch.setattr(module, "KEPT", 4)
    records: list[Record] = []
    log.subscribe(records.append)
    say(log, "before")
    log.emit("rst-sent", flow=7, side="internal", because="tos-reset")
    history = History(log, records)
    say(log, "of 7", flow=7)
    say(log, "of 8", flow=8)
    log.emit("rst-sent", flow=8, side="internal", because="cut")
    assert [record.event for record in history.records_of(7)] == ["rst-sent", "note"]
    say(log, "of all")
    assert texts(history.records_of(7)) == ["of 7", "of all"]
    assert history.resets == {"tos-reset": 1, "cut": 1}
    history.close()
    log.emit("rst-sent", flow=8, side="internal", because="cut")
    assert (history.resets["cut"], texts(history.records_of(9))) == (1, ["of all"])


async def test_a_stream_of_events_is_one_data_line_a_record_and_says_when_there_is_none(log: EventLog) -> None:
    history = History(log)
    say(log, "a", "b")
    answer = event_stream(history, 1, limited)
    assert (answer.status, answer.content_type) == (200, "text/event-stream")
    pieces = answer.body
    assert not isinstance(pieces, bytes)
    say(log, "c")
    told = [await anext(pieces) for _ in range(3)]
    first, second = (record.as_json(log.started_at) for record in list(history._records)[1:])
    events = f"data: {first}\n\ndata: {second}\n\n".encode()
    assert told == [b": the event log of a relay\n\n", events, b": nothing\n\n"]
    dropped = []
    assert answer.cut_off_by is not None
    answer.cut_off_by(lambda: dropped.append(1))
    (follower,) = history._followers
    follower.drop()
    assert dropped == [1]
    await pieces.aclose()  # type: ignore[attr-defined]
    assert not history._followers
