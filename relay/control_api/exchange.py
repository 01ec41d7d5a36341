"""Requests and answers of the control's HTTP, as values, and the error that becomes an answer."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeAlias
from urllib.parse import parse_qs, unquote, urlsplit

from relay.printable import escape_unprintable

JSON = "application/json"
Headers: TypeAlias = Mapping[str, str]


class Refused(Exception):
    """A request that is not carried out: its status, and one line that says why."""

    def __init__(self, status: int, message: str, *, hint: str = "", headers: Headers | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.hint = hint
        self.headers = headers or {}


@dataclass(frozen=True, slots=True)
class Request:
    """One request. Header names are in lower case; of a header that is repeated the last counts."""

    method: str
    target: str
    headers: Headers
    body: bytes = b""

    @property
    def parts(self) -> tuple[str, ...]:
        """The path's parts, decoded: `("relay", "v1", "flows")`."""
        return tuple(unquote(part) for part in urlsplit(self.target).path.split("/") if part)

    @property
    def query(self) -> dict[str, str]:
        """The query's fields; of one that is repeated the last counts."""
        return {name: values[-1] for name, values in parse_qs(urlsplit(self.target).query).items()}

    def header(self, name: str) -> str:
        """A header's value, empty without one."""
        return self.headers.get(name, "")


@dataclass(frozen=True, slots=True)
class Answer:
    """What a request is answered: a body, or a stream of which each piece is sent as it comes."""

    status: int
    body: bytes | AsyncIterator[bytes] = b""
    content_type: str = JSON
    headers: Headers = field(default_factory=dict)
    cut_off_by: Callable[[Callable[[], None]], None] | None = None
    """Is given, before a stream begins, what cuts it off: for a client that does not keep up."""


def as_json(value: Any, status: int = 200) -> Answer:
    """A value as an answer. All text in it that does not print is escaped, so a name cannot forge a line."""
    return Answer(status, json.dumps(value, allow_nan=False).encode() + b"\n")


def as_error(refused: Refused) -> Answer:
    """An error as toxiproxy's clients read it, with a hint beside."""
    told: dict[str, Any] = {"error": _line(str(refused)), "status": refused.status}
    if refused.hint:
        told["hint"] = _line(refused.hint)
    return Answer(refused.status, json.dumps(told).encode() + b"\n", headers=refused.headers)


def _line(text: str) -> str:
    return escape_unprintable(text[:1000])
