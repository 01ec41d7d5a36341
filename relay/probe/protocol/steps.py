"""Scripts: what the server does on one connection, step by step.

The steps are a closed list, each with its bounds, and a script has at most 16. On the wire a step is an array:

    ["read", BYTES, WITHIN_S]   read so many bytes, for so long at most; an end of the stream ends it, too
    ["send", BYTES]             send so many, at most 64 KiB
    ["wait", SECONDS]           go on reading meanwhile; a reset ends it
    ["fin"] ["rst"] ["close"]   end the connection: one direction, with a reset, or as a program does that exits
    ["stop-reading"]            with a small buffer, so that what comes waits in the network
    ["report"]                  note what the kernel has counted on the connection so far

Times are seconds of the server's clock.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

from relay.errors import ProtocolError
from relay.probe.protocol.fields import number, whole

MAX_STEPS = 16
MAX_SEND_BYTES = 64 * 1024
MAX_READ_BYTES = 10 * 1024 * 1024
MAX_WAIT_S = 86_400.0


@dataclass(frozen=True, slots=True)
class Read:
    """Read `count` bytes, for `within_s` at most."""

    count: int
    within_s: float


@dataclass(frozen=True, slots=True)
class Send:
    """Send `count` bytes."""

    count: int


@dataclass(frozen=True, slots=True)
class Wait:
    """Let `seconds` pass, and take in what comes meanwhile."""

    seconds: float


@dataclass(frozen=True, slots=True)
class Do:
    """A step without a number: `fin`, `rst`, `close`, `stop-reading` or `report`."""

    what: str


Step: TypeAlias = Read | Send | Wait | Do

FIN, RST, CLOSE, STOP_READING, REPORT = map(Do, ("fin", "rst", "close", "stop-reading", "report"))
_BARE = {step.what: step for step in (FIN, RST, CLOSE, STOP_READING, REPORT)}


def as_values(steps: tuple[Step, ...]) -> list[list[object]]:
    """Steps as they cross."""
    return [_as_value(step) for step in steps]


def read_steps(values: object) -> tuple[Step, ...]:
    """Steps that have crossed.

    Raises:
        ProtocolError: one is unknown or beyond its bounds, or there are too many.
    """
    if not isinstance(values, list) or not 0 < len(values) <= MAX_STEPS:
        raise ProtocolError(f"steps are no array of 1 to {MAX_STEPS}")
    return tuple(map(_read_step, values))


def _as_value(step: Step) -> list[object]:
    match step:
        case Read(count, within_s):
            return ["read", count, within_s]
        case Send(count):
            return ["send", count]
        case Wait(seconds):
            return ["wait", seconds]
        case Do(what):
            return [what]


def _read_step(value: object) -> Step:
    match value:
        case ["read", count, within_s]:
            return Read(whole(count, "read", 1, MAX_READ_BYTES), number(within_s, "the time of a read", 0, MAX_WAIT_S))
        case ["send", count]:
            return Send(whole(count, "send", 1, MAX_SEND_BYTES))
        case ["wait", seconds]:
            return Wait(number(seconds, "wait", 0, MAX_WAIT_S))
        case [str(what)] if what in _BARE:
            return _BARE[what]
        case _:
            raise ProtocolError("a step that does not exist")
