"""What `relay serve` writes while it serves: talk and the event log's text to stderr, its JSON lines to `--events`.

Each of the two has a `Sink`, so that no flow waits for a reader. At the end both have `FLUSH_S` together; what is not
written by then is left.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from relay.cli.output_file import open_log, worded
from relay.cli.terminal import colour, complaint, mute_stderr, stdout
from relay.clock import real_s
from relay.log import EventLog, EventType, Record
from relay.log.sink import Sink
from relay.log.text import TextLines

FLUSH_S = 1.0
_TELL_S = 0.2  # of it, for stderr to take what there is to say of the other


class Talk:
    """stderr, beside the event loop."""

    def __init__(self, log: EventLog) -> None:
        self._log = log
        self._lines = TextLines(log.started_at, colour=colour(sys.stderr))
        self._sink = Sink(sys.stderr.fileno(), self._describe_drop, encoding=sys.stderr.encoding)

    def say(self, text: str) -> None:
        """Write this, if stderr still takes something."""
        with suppress(OSError):
            self._sink.write(text)

    def follow(self) -> None:
        """Write every record of the event log from now on."""
        self._log.subscribe(lambda record: self._sink.write(self._lines(record)))

    def close(self, deadline_s: float) -> None:
        """Wait for the reader, but not beyond this; then nothing more is written there, by nothing in this process."""
        if self._sink.close(deadline_s):
            mute_stderr()

    def _describe_drop(self, count: int) -> str:
        return self._lines(_dropped(self._log, count))


class Events:
    """The event log as JSON lines, to a descriptor; `name` is what the user calls it."""

    def __init__(self, log: EventLog, name: str, descriptor: int, talk: Talk) -> None:
        self._log = log
        self._name = name
        self._talk = talk
        self._sink = Sink(descriptor, self._describe_drop, self._tell_failure, owned=name != "-")
        log.subscribe(lambda record: self._sink.write(self._line(record)))

    def close(self, deadline_s: float) -> None:
        """Wait for the reader, but not beyond this."""
        if left := self._sink.close(deadline_s):
            message = f"--events: {self._name} was not read in time; records that are missing at its end: {left}"
            self._talk.say(complaint(message, "read it to its end"))

    def _line(self, record: Record) -> str:
        return record.as_json(self._log.started_at)

    def _describe_drop(self, count: int) -> str:
        return self._line(_dropped(self._log, count))

    def _tell_failure(self, failure: OSError) -> None:
        # No event log on the terminal may be there, or not yet, to tell of it.
        hint = "the relay serves on without it"
        self._talk.say(complaint(f"--events: cannot write {self._name} any more: {failure.strerror}", hint))


@contextmanager
def open_outputs(log: EventLog, events: str | None) -> Iterator[Talk]:
    """Have the event log written to `events`, a file's name or `-`, for as long as the block lasts.

    Raises:
        ConfigError: it cannot be written.
    """
    descriptor = _open(events) if events is not None else None
    talk = Talk(log)
    lines = Events(log, events, descriptor, talk) if events is not None and descriptor is not None else None
    try:
        yield talk
    finally:
        deadline_s = real_s() + FLUSH_S
        if lines is not None:
            lines.close(deadline_s - _TELL_S)
        talk.close(deadline_s)


def _open(events: str) -> int:
    if events == "-":
        return stdout().fileno()
    path = Path(events)
    with worded("--events", path, accepted="name a file, or - for stdout"):
        return open_log(path)


def _dropped(log: EventLog, count: int) -> Record:
    return log.record(EventType.RECORDS_DROPPED, records=count)
