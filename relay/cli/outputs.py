"""What `relay serve` writes while it serves: talk and the event log's text to stderr, its JSON lines to `--events`, and
packets made of it to `--pcap`.

Each has a sink, so that no flow waits for a reader. At the end all have `FLUSH_S` together; what is not written by then
is left.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from relay.cli.output_file import empty, open_kept, open_log, worded
from relay.cli.terminal import colour, complaint, mute_stderr, stdout
from relay.clock import real_s
from relay.errors import ConfigError
from relay.log import EventLog, EventType, Record
from relay.log.rebuilt import LogCapture
from relay.log.sink import ByteSink, Sink
from relay.log.text import TextLines

if TYPE_CHECKING:
    from relay.wire.capture import WireCapture

FLUSH_S = 1.0
_TELL_S = 0.2  # of it, for stderr to take what there is to say of the other


class Talk:
    """stderr, beside the event loop."""

    def __init__(self, log: EventLog) -> None:
        self._log = log
        self._lines = TextLines(log.started_at, colour=colour(sys.stderr))
        self._sink = Sink(sys.stderr.fileno(), self._describe_drop, encoding=sys.stderr.encoding)
        self.rotated: list[Events | Packets] = []
        """What is reopened for the rotation of logs."""
        self.tap: WireCapture | None = None
        """What guests' packets are to be shown to, if they are to be captured."""
        self.begin: Callable[[], None] = lambda: None
        """To be called when the start is certain: a capture replaces that of an earlier run only then."""

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


@dataclass(frozen=True, slots=True)
class Output:
    """Where an option has something written; `name` is what the user calls it."""

    option: str
    name: str
    descriptor: int
    talk: Talk

    @property
    def owned(self) -> bool:
        """Whether it is closed in the end."""
        return self.name != "-"

    def reopen(self) -> int:
        """Open the file anew: it was moved away.

        Raises:
            OSError: it cannot be opened; that is said here.
        """
        try:
            return open_log(Path(self.name))
        except OSError as failure:
            hint = "the relay goes on with the file that it has open"
            self.talk.say(complaint(f"{self.option}: cannot reopen {self.name}: {failure.strerror}", hint))
            raise

    def tell_failure(self, failure: OSError) -> None:
        """Say that nothing more can be written."""
        # An event log on the terminal, which would report it, may be absent or not open yet.
        hint = "the relay serves on without it"
        self.talk.say(complaint(f"{self.option}: cannot write {self.name} any more: {failure.strerror}", hint))

    def tell_late(self, what: str, left: int) -> None:
        """Say that so many are missing."""
        message = f"{self.option}: {self.name} was not read in time; {what} that are missing at its end: {left}"
        self.talk.say(complaint(message, "read it to its end"))


class Events:
    """The event log as JSON lines."""

    def __init__(self, log: EventLog, output: Output) -> None:
        self._log = log
        self._output = output
        self._sink = Sink(output.descriptor, self._describe_drop, output.tell_failure, owned=output.owned)
        log.subscribe(lambda record: self._sink.write(self._line(record)))

    def reopen(self) -> None:
        """Write later records to a file of the same name, which was moved away; those before to the one that was."""
        if self._output.owned:
            self._sink.reopen(self._output.reopen)

    def close(self, deadline_s: float) -> None:
        """Wait for the reader, but not beyond this."""
        if left := self._sink.close(deadline_s):
            self._output.tell_late("records", left)

    def _line(self, record: Record) -> str:
        return record.as_json(self._log.started_at)

    def _describe_drop(self, count: int) -> str:
        return self._line(_dropped(self._log, count))


class _Capture(Protocol):
    def begin_anew(self) -> bytes: ...
    def close(self) -> None: ...


class Packets:
    """A capture: of the event log alone, or of guests' links as well, which are to be shown to `tap` then."""

    def __init__(self, log: EventLog, output: Output, *, guests: bool) -> None:
        self._output = output
        self._sink = ByteSink(output.descriptor, output.tell_failure, owned=output.owned, held=True)
        self.tap: WireCapture | None = None
        process = os.getpid(), "relay"
        if guests:
            from relay.wire.capture import WireCapture

            self._capture: _Capture = WireCapture(log, self._sink.offer, process)
            self.tap = self._capture
        else:
            self._capture = LogCapture(log, self._sink.offer, process)

    def begin(self) -> None:
        """Write, from here on, in the place of what the file holds."""
        if self._output.owned:
            empty(self._output.descriptor)
        self._sink.release()

    def reopen(self) -> None:
        """Write later packets to a file of the same name, which was moved away; those before to the one that was."""
        if self._output.owned:
            with suppress(OSError):  # `tell_failure` has said so
                self._sink.reopen(self._output.reopen, self._capture.begin_anew())

    def close(self, deadline_s: float) -> None:
        """Wait for the reader, but not beyond this."""
        with suppress(OSError):  # `tell_failure` has said so
            self._capture.close()
        if left := self._sink.close(deadline_s):
            self._output.tell_late("packets", left)


@contextmanager
def open_outputs(log: EventLog, events: str | None, pcap: str | None = None, *, guests: bool = False) -> Iterator[Talk]:
    """Have the event log written to `events` and to `pcap`, files' names or `-`, for as long as the block lasts.

    With `guests` there are links in wire mode, whose packets are to be in `pcap`.

    Raises:
        ConfigError: one of them cannot be written.
    """
    if events == pcap == "-":
        raise ConfigError("--pcap: stdout has the lines of --events already", hint="name a file for one of them")
    talk = Talk(log)
    if pcap == "-" and stdout().isatty():
        raise ConfigError("--pcap: stdout is a terminal", hint="e.g. relay serve --pcap - | wireshark -k -i -")
    opened = {
        option: Output(option, name, _open(option, name, open_file), talk)
        for option, name, open_file in (("--events", events, open_log), ("--pcap", pcap, open_kept))
        if name is not None
    }
    writers: list[Events | Packets] = []
    if (output := opened.get("--events")) is not None:
        writers.append(Events(log, output))
    if (output := opened.get("--pcap")) is not None:
        writers.append(packets := Packets(log, output, guests=guests))
        talk.tap, talk.begin = packets.tap, packets.begin
    talk.rotated = writers
    try:
        yield talk
    finally:
        deadline_s = real_s() + FLUSH_S
        for writer in writers:
            writer.close(deadline_s - _TELL_S)
        talk.close(deadline_s)


def _open(option: str, name: str, open_file: Callable[[Path], int]) -> int:
    if name == "-":
        return stdout().fileno()
    path = Path(name)
    with worded(option, path, accepted="name a file, or - for stdout"):
        return open_file(path)


def _dropped(log: EventLog, count: int) -> Record:
    return log.record(EventType.RECORDS_DROPPED, records=count)
