"""Reads a file of the event log's JSON lines back into records, and says what is wrong with which line.

A line that is no record of a relay is left out, and reported as a `Problem`; others are read. A field's value is one of
the kind that its name says, so what works with a record can rely on it. Records of an earlier release, which lack a
field or two, have None there. Dates are those of the file: a record's `at(0.0)` is its time on the wall clock.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, BinaryIO

from relay.log.record import Record
from relay.log.vocabulary import COUNT, FIELDS, MAYBE_NULL, NUMBER, Kind, event_now, kind_of

MOST_PROBLEMS = 20
"""So many are kept, the first ones; all are counted."""

_MOST_LINE_BYTES = 1 << 20  # a record has less than 1 KiB, but for a fault's traceback
_SHOWN = 40  # characters of what is wrong
_MOST_NUMBER = 1e15  # beyond which a float no longer counts bytes, and no relay gets
_FIRST_YEAR, _LAST_YEAR = 1970, 9998  # so that every zone's clock can show it

_SINCE_LATER = frozenset(
    {"granted_after_s", "bytes_lost", "traceback", "wire", "workers", "time_scale", "backend", "local"}
)
"""Fields that earlier releases did not write."""


@dataclass(frozen=True, slots=True)
class Problem:
    """What is wrong with a line, or with a block of a capture."""

    number: int
    """From 1."""
    what: str
    unit: str = "line"

    def __str__(self) -> str:
        return f"{self.unit} {self.number}: {self.what}"


class _Foreign(Exception):
    """A line is no record, for the reason given."""


class RecordReader:
    """An iterator over the records of a file or a pipe; what it left out is in `problems` by then."""

    def __init__(self, stream: BinaryIO) -> None:
        self._stream = stream
        self.problems: list[Problem] = []
        self.problem_count = 0
        self.line_count = 0
        self.record_count = 0

    def __iter__(self) -> Iterator[Record]:
        while line := self._stream.readline(_MOST_LINE_BYTES):
            self.line_count += 1
            try:
                record = _record_of(line)
            except _Foreign as reason:
                what = str(reason)
                if not line.endswith(b"\n"):
                    what = f"it is cut off, or the file still grows: {what}"
                    if len(line) == _MOST_LINE_BYTES:
                        self._skip_line()
                        what = f"it is longer than {_MOST_LINE_BYTES >> 20} MiB, as no record is"
                self._complain(what)
                continue
            self.record_count += 1
            yield record

    def _complain(self, what: str) -> None:
        self.problem_count += 1
        if len(self.problems) < MOST_PROBLEMS:
            self.problems.append(Problem(self.line_count, what))

    def _skip_line(self) -> None:
        while (rest := self._stream.readline(_MOST_LINE_BYTES)) and not rest.endswith(b"\n"):
            pass


def _record_of(line: bytes) -> Record:
    """The record on this line.

    Raises:
        _Foreign: there is none.
    """
    try:
        found = json.loads(line.decode().strip(), parse_constant=_refuse_constant)
    except json.JSONDecodeError as error:
        rest = error.doc[error.pos :]
        raise _Foreign(
            f"no JSON at column {error.colno}, {_shown(rest)}" if rest else "no JSON: it ends early"
        ) from None
    except UnicodeDecodeError:
        raise _Foreign("it is not UTF-8") from None
    except (RecursionError, ValueError) as error:  # nested too deep, or a number too long to read
        raise _Foreign(f"JSON that cannot be read: {error}") from None
    if not isinstance(found, dict):
        raise _Foreign(f"a JSON {_named(found)}, where a record is an object")
    event = found.get("event")
    if not isinstance(event, str):
        raise _Foreign("it has no 'event', which every record has")
    event = event_now(event)
    if event not in FIELDS:
        raise _Foreign(f"there is no event {_shown(event)}")
    at_s = _checked("at_s", found.get("at_s"), NUMBER)
    return Record(
        event,
        float(at_s),
        _flow_of(found),
        _process_of(found.get("process")),
        {name: _field(event, name, found) for name in FIELDS[event]},
        at_s - _wall_s(found.get("at")),
        _carried_of(found.get("carried")),
    )


def _field(event: str, name: str, found: Mapping[str, Any]) -> Any:
    if name not in found and name not in _SINCE_LATER:
        raise _Foreign(f"{event} without {name!r}")
    value = found.get(name)
    if value is None and (name in MAYBE_NULL or name not in found):
        return value
    _checked(name, value, kind_of(name))
    if name == "side" and value not in ("internal", "external"):
        raise _Foreign(f"'side' is {_shown(value)}, which is neither internal nor external")
    return value


def _checked(name: str, value: Any, kind: Kind) -> Any:
    if not isinstance(value, kind) or isinstance(value, bool):
        raise _Foreign(f"{name!r} is {_shown(value)}")
    if isinstance(value, int | float) and not abs(value) < _MOST_NUMBER and name != "seed":
        raise _Foreign(f"{name!r} is {_shown(value)}, more than a relay counts")
    if isinstance(value, list) and not all(isinstance(each, str) for each in value):
        raise _Foreign(f"{name!r} is {_shown(value)}")
    return value


def _flow_of(found: Mapping[str, Any]) -> int | None:
    flow = found.get("flow")
    return None if flow is None else _checked("flow", flow, COUNT)


def _process_of(value: Any) -> tuple[int, str] | None:
    match value:
        case None:
            return None
        case {"pid": int(pid), "name": str(name)}:
            return pid, name
    raise _Foreign(f"'process' is {_shown(value)}")


def _carried_of(value: Any) -> tuple[int, int]:
    match value:
        case None:
            return 0, 0
        case [int(out), int(inward)] if min(out, inward) >= 0 and max(out, inward) < _MOST_NUMBER:
            return out, inward
    raise _Foreign(f"'carried' is {_shown(value)}")


def _wall_s(value: Any) -> float:
    try:
        at = datetime.fromisoformat(value)
    except (TypeError, ValueError):
        raise _Foreign(f"'at' is {_shown(value)}, which is no time") from None
    if not _FIRST_YEAR <= at.year <= _LAST_YEAR:
        raise _Foreign(f"'at' is {_shown(value)}, in which no relay ran")
    return at.timestamp()


def _refuse_constant(name: str) -> float:
    raise ValueError(f"{name} is no number")


def _named(value: Any) -> str:
    names = {list: "array", str: "string", int: "number", float: "number", bool: "literal", type(None): "null"}
    return names[type(value)]


def _shown(value: Any) -> str:
    if isinstance(value, float) and not math.isfinite(value):
        return "no finite number"
    text = repr(value)
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}..."
