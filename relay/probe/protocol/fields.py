"""Fields of a message: each is checked for its type and range before anything is done with it."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from relay.errors import ProtocolError


def text(message: Mapping[str, Any], key: str, *, at_most: int = 200) -> str:
    """A field that is printable text.

    Raises:
        ProtocolError: it is missing, or something else.
    """
    value = message.get(key)
    if not isinstance(value, str) or len(value) > at_most or not value.isascii() or not value.isprintable():
        raise ProtocolError(f"{key} is no text")
    return value


def octets(message: Mapping[str, Any], key: str, size_bytes: int) -> bytes:
    """A field of so many bytes, in hexadecimal.

    Raises:
        ProtocolError: it is missing, or something else.
    """
    word = text(message, key)
    try:
        value = bytes.fromhex(word)
    except ValueError:
        raise ProtocolError(f"{key} is no hexadecimal") from None
    if len(value) != size_bytes or len(word) != 2 * size_bytes:
        raise ProtocolError(f"{key} is not of {size_bytes} bytes")
    return value


def whole(value: object, what: str, low: int, high: int) -> int:
    """An integer in a range.

    Raises:
        ProtocolError: it is something else.
    """
    if type(value) is not int or not low <= value <= high:
        raise ProtocolError(f"{what} is not from {low} to {high}")
    return value


def number(value: object, what: str, low: float, high: float) -> float:
    """A finite number in a range.

    Raises:
        ProtocolError: it is something else.
    """
    if type(value) not in {int, float} or not math.isfinite(value) or not low <= value <= high:  # type: ignore[arg-type, operator]
        raise ProtocolError(f"{what} is not from {low:g} to {high:g}")
    return float(value)  # type: ignore[arg-type]
