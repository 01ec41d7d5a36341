"""In which line of a TOML text each key stands."""

from __future__ import annotations

import tomllib
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from relay.config.toml_lines import line_of, lines_of

TEXT = '''# a comment with [brackets] and = signs
title = "a # b = c"  # then a comment
notes = """
[not.a.table]
key = 1
"""
"quoted key" = 'it''s'
list = [
  1,
  "]", # ]
]

[[forward]]
listen = 1
[forward.latency]
delay_s = 0.1
when = { nth = 2, host = "a" }

[[forward]]
target.host = "x"
  [forward . "latency"]
  delay_s = 2
[[forward.latency.evidence]]
source = "a"
[[forward.latency.evidence]]
source = "b"
[last]
key = 1'''


def test_each_key_has_its_line() -> None:
    text = TEXT.replace("'it''s'", "'its'")
    tomllib.loads(text)
    lines = lines_of(text)
    assert lines == {
        ("title",): 2,
        ("notes",): 3,
        ("quoted key",): 7,
        ("list",): 8,
        ("forward",): 13,
        ("forward", 0): 13,
        ("forward", 0, "listen"): 14,
        ("forward", 0, "latency"): 15,
        ("forward", 0, "latency", "delay_s"): 16,
        ("forward", 0, "latency", "when"): 17,
        ("forward", 1): 19,
        ("forward", 1, "target"): 20,
        ("forward", 1, "target", "host"): 20,
        ("forward", 1, "latency"): 21,
        ("forward", 1, "latency", "delay_s"): 22,
        ("forward", 1, "latency", "evidence"): 23,
        ("forward", 1, "latency", "evidence", 0): 23,
        ("forward", 1, "latency", "evidence", 0, "source"): 24,
        ("forward", 1, "latency", "evidence", 1): 25,
        ("forward", 1, "latency", "evidence", 1, "source"): 26,
        ("last",): 27,
        ("last", "key"): 28,
    }


def test_what_has_no_line_has_that_of_what_is_around_it() -> None:
    lines = {("forward", 0): 3, ("forward", 0, "latency"): 5}
    assert line_of(lines, ("forward", 0, "latency", "when", "nth")) == 5
    assert line_of(lines, ("forward", 0, "target")) == 3
    assert line_of(lines, ("profile",)) is None
    assert line_of(lines, ()) is None


values = st.one_of(
    st.integers(-9, 9).map(str),
    st.text("ab[]{}=#,. ", max_size=5).map(lambda text: f'"{text}"'),
    st.text('ab[]{}=#,.\n" ', max_size=8).map(lambda text: "'''" + text + "'''"),
    st.text("ab\n]", max_size=5).map(lambda text: f'"""{text}"""'),
    st.lists(st.integers(0, 9).map(str), max_size=3).map(lambda each: "[\n" + ",\n".join(each) + "\n]"),
)


@given(st.lists(values, max_size=6))
def test_values_of_any_form_do_not_shift_the_lines(several: list[str]) -> None:
    text, expected = "", {}
    for number, value in enumerate(several):
        expected[(f"key{number}",)] = text.count("\n") + 1
        text += f"key{number} = {value}  # ' \" [\n\n"
    read: dict[str, Any] = tomllib.loads(text)
    assert lines_of(text) == expected
    assert {(key,) for key in read} == set(expected)
