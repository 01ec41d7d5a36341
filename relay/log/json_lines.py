"""The event log as programs read it: one JSON object a line.

{"at": "2026-01-31T12:00:00.123+00:00", "at_s": 1.234567, "event": "tos-changed", "flow": 7, "new": 72, ...}
"""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from relay.log.event_log import Record


def json_line(record: Record, started_at: float) -> str:
    """A record as one JSON object, without the line's end; `started_at` is the log's, on the wall clock."""
    at = datetime.fromtimestamp(record.at(started_at), UTC).isoformat(timespec="milliseconds")
    process = {"pid": record.process[0], "name": record.process[1]} if record.process else None
    head = {"at": at, "at_s": round(record.at_s, 6), "event": record.event, "flow": record.flow, "process": process}
    carried = {"carried": record.carried if record.flow is not None else None}
    return json.dumps(head | carried | dict(record.fields))
