"""Whatever is in a file of events, it is drawn or reported, and raises nothing."""

from __future__ import annotations

import io
import json
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from relay.ladder import runs_of
from relay.ladder.text import WIDTH, LadderText
from relay.ladder.width import cells
from relay.log import COMMON_FIELDS, FIELDS
from relay.log.reading import RecordReader
from relay.log.vocabulary import MAYBE_NULL, kind_of
from relay.report import page_of, section_of
from support.flow_records import two_flows

VALUES = st.one_of(
    *(st.none(), st.booleans(), st.integers(-5, 300), st.integers(), st.floats(), st.text(max_size=8)),
    *(st.just("internal"), st.lists(st.integers(-1, 10**16), max_size=2), st.just({"pid": 1, "name": "x"})),
)
NAMES = sorted({*COMMON_FIELDS, *(name for fields in FIELDS.values() for name in fields)})


def every_event() -> list[dict[str, Any]]:
    """A line of each kind, of one flow, and two flows that could have been."""
    told = two_flows()
    for event, fields in FIELDS.items():
        values: dict[str, Any] = {name: _value(name) for name in fields if name not in MAYBE_NULL}
        told(3.0, event, 3, **(values | ({"side": "internal"} if "side" in fields else {})))
    return [json.loads(line) for line in told.lines().splitlines()]


def _value(name: str) -> Any:
    return 0.5 if name.endswith("_s") else kind_of(name)[0]()


LINES = every_event()


def draw(lines: list[dict[str, Any]]) -> RecordReader:
    data = "".join(f"{json.dumps(line)}\n" for line in lines).encode()
    reader = RecordReader(io.BytesIO(data))
    runs = runs_of(reader)
    for run in runs:
        for ladder in run.ladders:
            for text in (LadderText(), LadderText(unicode=False, colour=False, most_steps=5)):
                assert max(map(cells, [*text.whole(ladder), *text.folded(ladder)])) <= WIDTH
    page_of([section_of(run, "title", None) for run in runs], "title")
    return reader


def test_every_kind_of_record_is_drawn() -> None:
    assert draw(LINES).problems == []


@given(st.lists(st.tuples(st.integers(0, len(LINES) - 1), st.sampled_from(NAMES), VALUES), max_size=4), st.randoms())
def test_records_with_other_values_are_drawn_or_reported(changes: list[tuple[int, str, Any]], chance: Any) -> None:
    lines = [dict(line) for line in LINES]
    for at, name, value in changes:
        lines[at][name] = value
    chance.shuffle(lines)
    draw(lines)
