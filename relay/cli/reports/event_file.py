"""The file that a command is given, of events or of packets: how it is read, and what is said of its faults."""

from __future__ import annotations

import io
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Protocol, cast

from relay.cli.terminal import complain
from relay.errors import ConfigError
from relay.interrupt import first_interrupt_passed
from relay.ladder.packets import PacketReader
from relay.log import Record
from relay.log.captured import MAGIC
from relay.log.reading import Problem, RecordReader

_HINT = "give the file that --events or --pcap wrote, or - for stdin"


class Reader(Protocol):
    """An iterator over records; what it left out is in `problems` by then."""

    record_count: int

    def __iter__(self) -> Iterator[Record]: ...

    @property
    def problems(self) -> Sequence[Problem]:
        """The first of them."""

    @property
    def problem_count(self) -> int:
        """How many there are in all."""


@contextmanager
def open_records(name: str) -> Iterator[Reader]:
    """The records of the file of this name, or of stdin.

    Raises:
        ConfigError: it cannot be read.
    """
    if name == "-":
        if sys.stdin is None:
            raise ConfigError("stdin is closed", hint=_HINT)
        with first_interrupt_passed():
            yield _reader_of(cast("io.BufferedReader", sys.stdin.buffer))
        return
    try:
        with Path(name).open("rb") as stream:
            yield _reader_of(stream)
    except OSError as error:
        raise ConfigError(f"cannot read {name}: {error.strerror}", hint=_HINT) from None


def _reader_of(stream: io.BufferedReader) -> Reader:
    is_capture = stream.peek(len(MAGIC))[: len(MAGIC)] == MAGIC
    return PacketReader(stream) if is_capture else RecordReader(stream)


def complain_of(name: str, reader: Reader) -> None:
    """Say what was left out, and why.

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
        complain(f"{shown}: {more} more {reader.problems[0].unit}s are no records", _HINT)


def shown_name(name: str) -> str:
    """What messages call this file."""
    return "stdin" if name == "-" else name
