"""The fields of a request's object: each by its type and its range, and the line that says what is wrong with one."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from relay.control_api.exchange import Refused
from relay.control_api.json_body import Fields, parse_fields, parse_json

Read = Callable[[Fields], object]


def fields(value: object = None) -> Fields:
    return Fields({"a": value}, "it")


@pytest.mark.parametrize(
    ("read", "value"),
    [
        (lambda of: of.text("a"), "x"),
        (lambda of: of.text("a", "x"), "x"),
        (lambda of: of.truth("a"), False),
        (lambda of: of.number("a", low=-1, high=1), -1),
        (lambda of: of.number("a", low=-1, high=1), 1),
        (lambda of: of.number("a"), 0.5),
        (lambda of: of.number("a"), -9e299),
        (lambda of: of.whole("a"), 7.0),
        (lambda of: of.whole("a"), 0),
        (lambda of: of.whole("a"), 2**63),
        (lambda of: of.whole("a", low=-3), -3),
        (lambda of: of.one_of("a", ("x", "y")), "y"),
        (lambda of: list(of.texts("a")), ["x", "y"]),
        (lambda of: dict(of.fields("a").all()), {"b": 1}),
    ],
)
def test_a_field_that_is_right_is_read(read: Read, value: object) -> None:
    given = fields(value)
    assert read(given) == value
    given.done()


def test_a_whole_number_is_one_however_it_is_written() -> None:
    assert repr(fields(7.0).whole("a")) == "7"


@pytest.mark.parametrize(
    ("read", "default"),
    [
        (lambda of: of.text("a", "x"), "x"),
        (lambda of: of.truth("a", True), True),
        (lambda of: of.truth("a", False), False),
        (lambda of: of.number("a", 0.5), 0.5),
        (lambda of: of.whole("a", 5), 5),
        (lambda of: of.one_of("a", ("x", "y"), "x"), "x"),
        (lambda of: dict(of.fields("a").all()), {}),
    ],
)
@pytest.mark.parametrize("given", [{}, {"a": None}])
def test_null_stands_for_an_absent_field(read: Read, default: object, given: dict[str, object]) -> None:
    assert read(Fields(given, "it")) == default


@pytest.mark.parametrize(
    ("read", "value", "said"),
    [
        (lambda of: of.text("a"), None, "a is missing"),
        (lambda of: of.texts("a"), None, "a is missing"),
        (lambda of: of.text("a"), 1, "a: 1 is not a string"),
        (lambda of: of.truth("a"), 1, "a: 1 is not true or false"),
        (lambda of: of.number("a"), True, "a: True is not a number"),
        (lambda of: of.number("a"), "1", "a: '1' is not a number"),
        (lambda of: of.number("a"), 1e300, "a: 1e+300 is not a number"),
        (lambda of: of.number("a"), -1e300, "a: -1e+300 is not a number"),
        (lambda of: of.number("a", low=-1, high=1), 1.5, "a: 1.5 is not a number from -1 to 1"),
        (lambda of: of.number("a", low=-1, high=1), -2, "a: -2 is not a number from -1 to 1"),
        (lambda of: of.whole("a"), 0.5, f"a: 0.5 is not a whole number from 0 to {2**63}"),
        (lambda of: of.whole("a"), -1, f"a: -1 is not a whole number from 0 to {2**63}"),
        (lambda of: of.whole("a", high=3), 4, "a: 4 is not a whole number from 0 to 3"),
        (lambda of: of.one_of("a", ("x", "y")), "z", "a: 'z' is not one of x, y"),
        (lambda of: of.texts("a"), "x", "a: 'x' is not a list of strings"),
        (lambda of: of.texts("a"), ["x", 1], "a: ['x', 1] is not a list of strings"),
        (lambda of: of.fields("a"), [], "a: [] is no object"),
        (lambda of: of.done(), 1, "unknown field 'a'"),
        (lambda of: of.text("a"), ["x" * 54], f"a: {['x' * 54]} is not a string"),
    ],
)
def test_one_that_is_wrong_is_named_with_what_it_is(read: Read, value: object, said: str) -> None:
    with pytest.raises(Refused) as raised:
        read(fields(value))
    assert (raised.value.status, str(raised.value)) == (400, f"it: {said}")


def test_a_long_value_is_shown_by_its_beginning() -> None:
    with pytest.raises(Refused) as raised:
        fields("x" * 61).number("a")
    assert str(raised.value) == f"it: a: '{'x' * 56}... is not a number"


def test_a_misspelt_field_has_the_nearest_as_its_hint_and_one_that_is_skipped_is_known() -> None:
    given = Fields({"colour": 1, "skipped": [1]}, "it")
    given.skip("skipped")
    given.text("color", "red")
    with pytest.raises(Refused) as raised:
        given.done()
    assert (str(raised.value), raised.value.hint) == (
        "it: unknown field 'colour'",
        "did you mean color? the fields: skipped, color",
    )
    assert "colour" in given
    assert given.all() == {"colour": 1}
    given.done()


@pytest.mark.parametrize(
    ("body", "value"),
    [
        (b"[1, 2]", [1, 2]),
        (b"[" * 32 + b"]" * 32, None),
        (b'["' + b"[" * 40 + b'\\"' + b"[" * 40 + b'"]', ["[" * 40 + '"' + "[" * 40]),
        (b"[" + b"[]," * 40 + b"{}]", [*([] for _ in range(40)), {}]),
    ],
)
def test_a_body_is_as_deep_as_its_brackets_outside_of_strings(body: bytes, value: Any) -> None:
    read = parse_json(body)
    assert value is None or read == value


@pytest.mark.parametrize(
    ("body", "said"),
    [
        (b"[" * 33 + b"]" * 33, "the body is nested deeper than 32 levels"),
        (b'{"a":' * 33 + b"1" + b"}" * 33, "the body is nested deeper than 32 levels"),
        (b"[" + b"[]," * 10 + b"[" * 32 + b"]" * 32 + b"]", "the body is nested deeper than 32 levels"),
        (b"[-Infinity]", "the body is no JSON: -Infinity is no number in JSON"),
        (b"[", "the body is no JSON: Expecting value: line 1 column 2 (char 1)"),
        (b"7", "it: 7 is no object"),
    ],
)
def test_a_body_that_is_no_object_is_refused(body: bytes, said: str) -> None:
    with pytest.raises(Refused) as raised:
        parse_fields(body, "it")
    assert (raised.value.status, str(raised.value)) == (400, said)


def test_a_body_of_nothing_is_an_object_without_fields() -> None:
    for body in (b"", b" \r\n", b"{}"):
        given = parse_fields(body, "it")
        assert (given.where, given.all()) == ("it", {})
    with pytest.raises(Refused) as raised:
        parse_fields(b"[]", "it")
    assert raised.value.hint == 'e.g. {"side": "server"}'
