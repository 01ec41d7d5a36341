"""The event log: whatever is recorded is one line of JSON that says the same when it is read, and one line of text."""

from __future__ import annotations

import json
import struct
from typing import Any

from fuzz.targets._api import target
from relay.log import COMMON_FIELDS, FIELDS, EventLog, Record
from relay.log.memory import as_text
from relay.log.text import TextLines
from relay.printable import is_printable

_SIDES = ("internal", "external")
_NUMBERS = frozenset(
    {
        *("flows", "flows_ended", "syn", "old", "syn_precedence", "unacked_bytes", "bytes", "bytes_out", "bytes_in"),
        *("bytes_lost", "seed", "at_most_s", "dial_s", "duration_s", "value", "time_scale", "records", "by_s"),
        *("probes", "every_s"),
    }
)
_MAYBE_NUMBERS = frozenset({"new", "new_precedence"})
_LISTS = frozenset({"settings", "forwards", "inbound"})


class _Values:
    """Values of any kind, from bytes; zeros when they run out."""

    def __init__(self, data: bytes) -> None:
        self._data = data

    def byte(self) -> int:
        first, self._data = self._data[:1], self._data[1:]
        return first[0] if first else 0

    def text(self) -> str:
        text, _, self._data = self._data.partition(b"\x1e")
        return text.decode("utf-8", "surrogateescape")

    def number(self) -> int | float:
        if self.byte() % 2:
            return self.byte() << self.byte() % 57
        value: float = struct.unpack("=f", bytes(self.byte() for _ in range(4)))[0]
        return value if -1e30 < value < 1e30 else 0.5

    def of(self, event: str, field: str) -> Any:
        if field == "side":
            return _SIDES[self.byte() % 2]
        if field in ("new", "new_precedence", "reference", "syn", "old"):
            byte = self.byte()
            return None if field not in ("syn", "old") and byte % 2 else byte
        if field in _NUMBERS:
            return self.number()
        if field in _LISTS:
            return [self.text() for _ in range(self.byte() % 3)]
        if field == "fidelity":
            return {self.text(): self.text()}
        if event == "flow-ended" and field in (*_SIDES, "internal_because", "external_because") and self.byte() % 2:
            return None
        return self.text()


@target(b"\x1e", b"tos-reset\x1e", b"127.0.0.1:22\x1e", b"\n", b"\x1b[2J", b"\xe2\x80\xa8", b"\xff", b"\r")
def fuzz_record(data: bytes) -> str:
    """First which event, the flow, whether the process is known and its name; then the fields' values in order."""
    values = _Values(data)
    event = sorted(FIELDS)[values.byte() % len(FIELDS)]
    flow = values.byte() or None
    process = (values.byte(), values.text()) if values.byte() % 2 else None
    fields = {field: values.of(event, field) for field in FIELDS[event]}
    record = Record(event, abs(values.number()) % 1e6, flow, process, fields)

    line = record.as_json(EventLog().started_at)
    assert line.isascii()
    assert len(line.splitlines()) == 1
    read = json.loads(line)
    assert read.keys() == COMMON_FIELDS.keys() | fields.keys()
    assert {name: read[name] for name in fields} == fields
    assert (read["event"], read["flow"]) == (event, flow)
    assert read["process"] == (None if process is None else {"pid": process[0], "name": process[1]})

    for colour in (False, True):
        shown = TextLines(EventLog().started_at, colour=colour)(record)
        bare = shown.removeprefix("\x1b[31m").removeprefix("\x1b[2m").removesuffix("\x1b[0m")
        assert all(map(is_printable, bare)), "a terminal obeys the others, or does not show them"
        assert len(shown.splitlines()) == 1
    assert len(as_text([record]).splitlines()) == 1
    return event
