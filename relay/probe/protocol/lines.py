"""JSON lines, each an object of at most 4 KiB.

A line that is too long, no JSON, or no object is a `ProtocolError`, after which the connection is closed: a peer that
breaks the form of one line is not listened to any further.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, NoReturn

from relay.errors import ProtocolError

MAX_LINE_BYTES = 4096
_MAX_DIGITS = 300  # a float of more digits is infinite


class LineReader:
    """Takes bytes as they come, and gives the messages that are complete."""

    def __init__(self) -> None:
        self._buffer = bytearray()

    def receive_data(self, data: bytes) -> None:
        """Take what has arrived."""
        self._buffer += data

    def next_event(self) -> dict[str, Any] | None:
        """The next message; None if it is not complete yet.

        Raises:
            ProtocolError: the line is no message.
        """
        end = self._buffer.find(b"\n", 0, MAX_LINE_BYTES)
        if end < 0:
            if len(self._buffer) >= MAX_LINE_BYTES:
                raise ProtocolError(f"a line of more than {MAX_LINE_BYTES} bytes")
            return None
        line = bytes(self._buffer[:end])
        del self._buffer[: end + 1]
        return _parsed(line)


def as_line(message: Mapping[str, object]) -> bytes:
    """A message as a line.

    Raises:
        ProtocolError: it is too long.
    """
    line = json.dumps(message, separators=(",", ":")).encode() + b"\n"
    if len(line) > MAX_LINE_BYTES:
        raise ProtocolError(f"a message of {len(line)} bytes")
    return line


def _parsed(line: bytes) -> dict[str, Any]:
    try:
        message = json.loads(line, parse_constant=_refuse, parse_int=_read_int)
    except (ValueError, RecursionError):
        raise ProtocolError("a line that is no JSON") from None
    if not isinstance(message, dict):
        raise ProtocolError("a line that is no JSON object")
    return message


def _refuse(word: str) -> NoReturn:
    raise ValueError(word)


def _read_int(digits: str) -> int:
    if len(digits) > _MAX_DIGITS:
        raise ValueError("digits")
    return int(digits)
