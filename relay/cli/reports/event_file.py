"""The file of events that a command is given: how it is opened, and what is said of what is wrong with it."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from relay.cli.terminal import complain
from relay.errors import ConfigError
from relay.log.reading import RecordReader

_HINT = "give the file that `relay serve --events FILE` wrote, or - for stdin"


@contextmanager
def open_events(name: str) -> Iterator[BinaryIO]:
    """The file of this name, or stdin.

    Raises:
        ConfigError: it cannot be read.
    """
    if name == "-":
        if sys.stdin is None:
            raise ConfigError("stdin is closed", hint=_HINT)
        yield sys.stdin.buffer
        return
    try:
        with Path(name).open("rb") as stream:
            yield stream
    except OSError as error:
        raise ConfigError(f"cannot read {name}: {error.strerror}", hint=_HINT) from None


def complain_of(name: str, reader: RecordReader) -> None:
    """Say which lines were left out, and why.

    Raises:
        ConfigError: there is nothing else.
    """
    shown = shown_name(name)
    if not reader.record_count:
        first = f"{reader.problems[0]}" if reader.problems else "it is empty"
        raise ConfigError(f"{shown} has no record of a relay: {first}", hint=_HINT)
    for problem in reader.problems:
        complain(f"{shown}: {problem}", "")
    if more := reader.problem_count - len(reader.problems):
        complain(f"{shown}: {more} more lines are no records", _HINT)


def shown_name(name: str) -> str:
    """What messages call this file."""
    return "stdin" if name == "-" else name
