"""Reports: what an end has seen on one connection, in order, each with its time since the connection began.

    [AT_S, "bytes", COUNT]      bytes came; those that come close together are one entry
    [AT_S, "sent", COUNT]       bytes were handed to the kernel
    [AT_S, "fin"] [AT_S, "rst"] the peer's end came
    [AT_S, "error", NAME]       the kernel gave up: ETIMEDOUT, EHOSTUNREACH, ...
    [AT_S, "state", {...}]      what the kernel has counted so far, where it can be asked (`STATE_KEYS`)

A report fits into one line of the protocol: when it has 48 entries, further ones replace the last.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from relay.errors import ProtocolError
from relay.probe.protocol.fields import number, whole
from relay.probe.protocol.steps import MAX_WAIT_S
from relay.probe.protocol.syn import SYN_KEYS

MAX_ENTRIES = 48
_TOGETHER_S = 0.001  # bytes that come within this time are one entry
_KINDS = frozenset({"bytes", "sent", "fin", "rst", "error", "state"})
STATE_KEYS = ("port", "tos", "segments_in", "segments_out", "bytes_in", "bytes_acked", "rtt_us", *SYN_KEYS)
"""What a state may have: the peer's port; its SYN's TOS byte; segments and bytes so far; the kernel's round trip; and
more of the SYN."""
_MOST = 1 << 62


@dataclass(frozen=True, slots=True)
class Seen:
    """One entry."""

    at_s: float
    what: str
    value: Any = None


@dataclass
class Report:
    """What was seen on one connection."""

    entries: list[Seen] = field(default_factory=list)
    began_s: float = 0.0
    """When the connection began, by the reader's clock."""

    def add(self, at_s: float, what: str, value: Any = None) -> None:
        """Note one thing more."""
        last = self.entries[-1] if self.entries else None
        if last is not None and last.what == what == "bytes" and at_s - last.at_s < _TOGETHER_S:
            self.entries[-1] = Seen(last.at_s, what, last.value + value)
        elif len(self.entries) < MAX_ENTRIES:
            self.entries.append(Seen(at_s, what, value))
        else:
            self.entries[-1] = Seen(at_s, what, value)

    def all(self, what: str) -> Iterator[Seen]:
        """The entries of this kind."""
        return (seen for seen in self.entries if seen.what == what)

    def count(self, what: str) -> int:
        """The sum of `bytes`, or of `sent`."""
        return sum(seen.value for seen in self.all(what))

    @property
    def end(self) -> str:
        """How the peer's end came: `fin`, `rst`, an error's name; empty if it did not."""
        return self.end_entry.value or self.end_entry.what if self.end_entry is not None else ""

    @property
    def end_entry(self) -> Seen | None:
        """The first entry of an end."""
        return next((seen for seen in self.entries if seen.what in {"fin", "rst", "error"}), None)

    def as_values(self) -> list[list[object]]:
        """As it crosses."""
        return [
            [round(seen.at_s, 6), seen.what, *([] if seen.value is None else [seen.value])] for seen in self.entries
        ]


def read_report(values: object, scale: float = 1.0) -> Report:
    """A report that has crossed, its times in seconds of a clock that runs `scale` times as fast.

    Raises:
        ProtocolError: it is none.
    """
    if not isinstance(values, list) or len(values) > MAX_ENTRIES:
        raise ProtocolError("a report is no array")
    return Report([_read_entry(value, scale) for value in values])


def _read_entry(value: object, scale: float) -> Seen:
    match value:
        case [at_s, str(what), *rest] if what in _KINDS and len(rest) <= 1:
            moment_s = number(at_s, "a time", 0, 100 * MAX_WAIT_S) * scale
            return Seen(moment_s, what, _read_value(what, rest[0] if rest else None))
        case _:
            raise ProtocolError("an entry that does not exist")


def _read_value(what: str, value: object) -> object:
    match what:
        case "bytes" | "sent":
            return whole(value, what, 0, _MOST)
        case "error":
            if not isinstance(value, str) or len(value) > 20 or not value.isalnum():
                raise ProtocolError("an error's name")
            return value
        case "state":
            if not isinstance(value, dict):
                raise ProtocolError("a state")
            return {key: whole(value[key], key, 0, _MOST) for key in STATE_KEYS if key in value}
        case _:
            return None
