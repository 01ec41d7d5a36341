"""Lines of `--events` read back: all that was written, and what is wrong with each line that is not one of ours."""

from __future__ import annotations

import io
import json
from typing import Any

import pytest

from relay.log.reading import MOST_PROBLEMS, RecordReader
from support.flow_records import STARTED_AT, Told, plain_flow, reset_flow


def read(data: bytes) -> RecordReader:
    reader = RecordReader(io.BytesIO(data))
    for _ in reader:
        pass
    return reader


def a_record(**changes: Any) -> dict[str, Any]:
    told = Told()
    told.end(2.0)
    return {**json.loads(told.lines()), **changes}


def without(name: str) -> dict[str, Any]:
    return {key: value for key, value in a_record().items() if key != name}


def problems(line: str | bytes | dict[str, Any]) -> list[str]:
    if isinstance(line, dict):
        line = json.dumps(line)
    data = line if isinstance(line, bytes) else line.encode()
    return [str(problem) for problem in read(data + b"\n").problems]


def test_what_was_written_is_read() -> None:
    told = Told()
    told.start()
    plain_flow(told, 1)
    reset_flow(told, 2)
    reader = RecordReader(io.BytesIO(told.lines().encode()))
    records = list(reader)
    assert reader.problem_count == 0
    assert [(each.event, each.flow, each.process, dict(each.fields), each.carried) for each in records] == [
        (each.event, each.flow, each.process, dict(each.fields), each.carried) for each in told.records
    ]
    assert [each.at_s for each in records] == pytest.approx([each.at_s for each in told.records], abs=1e-6)
    assert [each.at(0.0) for each in records] == pytest.approx(
        [each.at(STARTED_AT) for each in told.records], abs=0.001
    )


def test_records_of_the_release_before_are_read_by_their_names_now() -> None:
    head = {"at": "2026-11-22T01:00:00.000+00:00", "at_s": 1.0, "flow": 1, "process": None}
    lines = [
        {**head, "event": "flow-connected", "address": "192.0.2.1:80", "dial_s": 0.01},
        {**head, "event": "opener-vanished"},
        {**head, "event": "deafened", "side": "internal", "because": "close-mapping"},
    ]
    reader = RecordReader(io.BytesIO("".join(f"{json.dumps(line)}\n" for line in lines).encode()))
    assert [record.event for record in reader] == ["flow-connected", "initiator-vanished", "blackholed"]
    assert reader.problems == []


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        ("", "no JSON: it ends early"),
        ("<html>", "no JSON at column 1, '<html>'"),
        ('{"event": x}', "no JSON at column 11, 'x}'"),
        (b"\xff\xfe\xfa", "it is not UTF-8"),
        ("[" * 100_000, "JSON that cannot be read: maximum recursion depth exceeded"),
        ("7" * 5000, "JSON that cannot be read: Exceeds the limit"),
        ("[1]", "a JSON array, where a record is an object"),
        ("null", "a JSON null, where a record is an object"),
        ("{}", "it has no 'event'"),
        ('{"event": []}', "it has no 'event'"),
        (a_record(event="none-such\u202e"), "there is no event 'none-such\\u202e'"),
        (without("at_s"), "'at_s' is None"),
        (without("at"), "'at' is None, which is no time"),
        (a_record(at="0001-01-01T00:00:00"), "'at' is '0001-01-01T00:00:00', in which no relay ran"),
        (a_record(at_s="1"), "'at_s' is '1'"),
        (a_record(at_s=True), "'at_s' is True"),
        (a_record(at_s=1e300), "'at_s' is 1e+300, more than a relay counts"),
        ('{"event": "link-down", "at_s": NaN}', "JSON that cannot be read: NaN is no number"),
        ('{"event": "link-down", "at_s": 1e999}', "'at_s' is no finite number"),
        (a_record(flow="1"), "'flow' is '1'"),
        (a_record(process=[1]), "'process' is [1]"),
        (a_record(carried=[-1, 0]), "'carried' is [-1, 0]"),
        (without("because"), "flow-ended without 'because'"),
        (a_record(because=None), "'because' is None"),
        (a_record(bytes_out=10**30), "more than a relay counts"),
        ({**a_record(event="fin-received"), "side": "both"}, "'side' is 'both', which is neither"),
        ({**a_record(event="settings-changed"), "settings": [1]}, "'settings' is [1]"),
    ],
)
def test_a_line_that_is_no_record_is_reported_with_the_reason(line: str | bytes | dict[str, Any], problem: str) -> None:
    (told,) = problems(line)
    assert told.startswith("line 1: ")
    assert problem in told


def test_records_of_an_earlier_release_are_read() -> None:
    line = {key: value for key, value in a_record().items() if key not in {"granted_after_s", "carried"}}
    (record,) = RecordReader(io.BytesIO(json.dumps(line).encode()))
    assert record.fields["granted_after_s"] is None
    assert record.carried == (0, 0)


def test_what_is_between_records_is_left_out_and_a_last_line_may_be_cut_off() -> None:
    told = Told()
    plain_flow(told)
    first, *lines = told.lines().splitlines(keepends=True)
    reader = read("".join([first, "no JSON\n", *lines, lines[0][:50]]).encode())
    assert reader.record_count == len(told.records)
    assert [problem.number for problem in reader.problems] == [2, len(told.records) + 2]
    assert "it is cut off, or the file still grows" in reader.problems[1].what


def test_a_line_without_an_end_is_not_kept_whole() -> None:
    reader = read(b"x" * (3 << 20) + b"\n" + json.dumps(a_record()).encode())
    assert [str(problem) for problem in reader.problems] == ["line 1: it is longer than 1 MiB, as no record is"]
    assert reader.record_count == 1


def test_of_many_problems_the_first_are_kept_and_all_counted() -> None:
    reader = read(b"no\n" * 1000)
    assert (len(reader.problems), reader.problem_count) == (MOST_PROBLEMS, 1000)
