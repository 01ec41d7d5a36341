"""Reads what a request carries: JSON, and the fields of its objects, each by its type.

What is wrong is `Refused` with 400 and names the field. No number is infinite or NaN, nothing is nested deeper than
`MAX_DEPTH`, and a field that is not asked for is an error: a misspelt one would otherwise do nothing.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterable, Mapping
from typing import Any, NoReturn, TypeVar

from relay.control_api.exchange import Refused
from relay.settings import nearest

MAX_DEPTH = 32
WordT = TypeVar("WordT", bound=str)
_BRACKETS = re.compile(rb'"(?:[^"\\]|\\.)*"?|[\[{]|[\]}]', re.DOTALL)


def parse_json(body: bytes) -> Any:
    """The value that a body is.

    Raises:
        Refused: it is no JSON, or nested too deep.
    """
    if _depth(body) > MAX_DEPTH:
        raise Refused(400, f"the body is nested deeper than {MAX_DEPTH} levels")
    try:
        return json.loads(body, parse_constant=_refuse_constant)
    except ValueError as error:  # no UTF-8 either
        raise Refused(400, f"the body is no JSON: {error}") from None


def parse_fields(body: bytes, where: str, *, lenient: bool = False) -> Fields:
    """The object that a body is; an empty body is one without fields. See `Fields` for `lenient`.

    Raises:
        Refused: it is something else.
    """
    return Fields.of(parse_json(body) if body.strip() else {}, where, lenient=lenient)


class Fields:
    """The fields of an object, taken one by one; `done` refuses those that are left."""

    def __init__(self, values: Mapping[str, Any], where: str, *, lenient: bool = False) -> None:
        """With `lenient` those that are left do no harm, as where programs in Go read an object."""
        self._values = dict(values)
        self._lenient = lenient
        self._known: list[str] = []
        self.where = where
        """What the object is, for errors."""

    @classmethod
    def of(cls, value: object, where: str, *, lenient: bool = False) -> Fields:
        """Those of a value.

        Raises:
            Refused: it is no object.
        """
        if not isinstance(value, dict):
            raise Refused(400, f"{where}: {_shown(value)} is no object", hint='e.g. {"side": "server"}')
        return cls(value, where, lenient=lenient)

    def __contains__(self, name: str) -> bool:
        return name in self._values

    def text(self, name: str, default: str | None = None) -> str:
        """A string."""
        value = self._take(name, default)
        return value if isinstance(value, str) else self._refuse(name, value, "a string")

    def truth(self, name: str, default: bool | None = None) -> bool:
        """True or false."""
        value = self._take(name, default)
        return value if isinstance(value, bool) else self._refuse(name, value, "true or false")

    def number(
        self, name: str, default: float | None = None, *, low: float = -math.inf, high: float = math.inf
    ) -> float:
        """A number from `low` to `high`."""
        value = self._take(name, default)
        if isinstance(value, bool) or not isinstance(value, (int, float)) or not -1e300 < value < 1e300:
            return self._refuse(name, value, "a number")
        if not low <= value <= high:
            return self._refuse(name, value, f"a number from {low:g} to {high:g}")
        return value

    def whole(self, name: str, default: int | None = None, *, low: int = 0, high: int = 2**63) -> int:
        """A whole number from `low` to `high`; 7.0 is one, as some clients write it."""
        value = self.number(name, default)
        if value != int(value) or not low <= value <= high:
            return self._refuse(name, value, f"a whole number from {low} to {high}")
        return int(value)

    def one_of(self, name: str, words: Iterable[WordT], default: WordT | None = None) -> WordT:
        """One of these words."""
        value, known = self.text(name, default), list(words)
        for word in known:
            if value == word:
                return word
        return self._refuse(name, value, f"one of {', '.join(known)}")

    def texts(self, name: str) -> tuple[str, ...]:
        """A list of strings."""
        value = self._take(name, None)
        if not isinstance(value, list) or not all(isinstance(each, str) for each in value):
            return self._refuse(name, value, "a list of strings")
        return tuple(value)

    def fields(self, name: str) -> Fields:
        """An object; none is one without fields."""
        return Fields.of(self._take(name, {}), f"{self.where}: {name}", lenient=self._lenient)

    def all(self) -> Mapping[str, Any]:
        """Those that are left, as they are; none is left then."""
        values, self._values = self._values, {}
        return values

    def skip(self, name: str) -> None:
        """Take a field as it is, whatever it is."""
        self._known.append(name)
        self._values.pop(name, None)

    def done(self) -> None:
        """Refuse a field that was not asked for, unless that does no harm."""
        for name in () if self._lenient else self._values:
            raise Refused(
                400, f"{self.where}: unknown field {name!r}", hint=nearest(name, self._known, what="the fields")
            )

    def _take(self, name: str, default: object) -> Any:
        self._known.append(name)
        value = self._values.pop(name, None)
        value = default if value is None else value  # null stands for an absent field
        if value is None:
            raise Refused(400, f"{self.where}: {name} is missing")
        return value

    def _refuse(self, name: str, value: object, wanted: str) -> NoReturn:
        raise Refused(400, f"{self.where}: {name}: {_shown(value)} is not {wanted}")


def _depth(body: bytes) -> int:
    depth = deepest = 0
    for found in _BRACKETS.finditer(body):
        match found.group()[:1]:
            case b"[" | b"{":
                depth += 1
                deepest = max(deepest, depth)
            case b"]" | b"}":
                depth -= 1
    return deepest


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is no number in JSON")


def _shown(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."
