"""The event log as server-sent events (HTML Standard, section 9.2): one for each record, as one JSON object."""

from __future__ import annotations

from collections.abc import AsyncIterator

from relay.control_api.exchange import Answer
from relay.control_api.history import Follower, History
from relay.log import Record
from relay.server.started import Limited


def event_stream(history: History, earlier: int, limited: Limited) -> Answer:
    """What happens from now on, after up to so many records of what has."""
    follower = history.follow(earlier)

    def cut_off_by(cut: object) -> None:
        follower.drop = cut  # type: ignore[assignment]

    return Answer(200, _pieces(history, follower, limited), "text/event-stream", cut_off_by=cut_off_by)


async def _pieces(history: History, follower: Follower, limited: Limited) -> AsyncIterator[bytes]:
    started_at = history.log.started_at
    try:
        yield b": the event log of a relay\n\n"
        while True:
            batch = await follower.next_batch(limited)
            yield b"".join(_event(record, started_at) for record in batch) or b": nothing\n\n"
    finally:
        follower.leave()


def _event(record: Record, started_at: float) -> bytes:
    return f"data: {record.as_json(started_at)}\n\n".encode()
