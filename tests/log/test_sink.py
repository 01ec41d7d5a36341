"""What is written beside the event loop: in order, bounded, and never in anybody's way."""

from __future__ import annotations

import errno
import os
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TextIO

import pytest

from relay.log.sink import ByteSink, Sink
from support.capabilities import missing

_LINE = "x" * 99  # 100 bytes with its end
_PIPE_BYTES = 4096


@contextmanager
def small_pipe() -> Iterator[tuple[TextIO, int]]:
    """A pipe that is full with 40 such lines: where it is read, and where it is written."""
    if sys.platform != "linux":
        missing("only Linux makes a pipe small")
    import fcntl  # noqa: PLC0415 - not on Windows

    reader, writer = os.pipe()
    fcntl.fcntl(writer, fcntl.F_SETPIPE_SZ, _PIPE_BYTES)
    with open(reader) as stream:
        try:
            yield stream, writer
        finally:
            os.close(writer)


def open_sink(descriptor: int, *, limit_bytes: int = 1 << 20, failures: list[OSError] | None = None) -> Sink:
    failed = failures.append if failures is not None else lambda failure: None
    return Sink(descriptor, lambda count: f"{count} dropped", failed, limit_bytes=limit_bytes)


def closed_in_time(sink: Sink, *, within_s: float = 10.0) -> int:
    return sink.close(time.monotonic() + within_s)


def test_every_line_is_written_in_order_by_the_end(tmp_path: Path) -> None:
    lines = [f"line {number}" for number in range(20_000)]
    with (tmp_path / "log").open("w") as stream:
        sink = open_sink(stream.fileno())
        for line in lines:
            sink.write(line)
        assert closed_in_time(sink) == 0
    assert (tmp_path / "log").read_text().splitlines() == lines


@pytest.mark.parametrize("released", [True, False])
def test_a_sink_that_is_held_writes_nothing_before_it_is_released(released: bool, tmp_path: Path) -> None:
    path = tmp_path / "log"
    with path.open("wb") as stream:
        sink = ByteSink(stream.fileno(), held=True)
        assert sink.offer(b"first, ")
        assert path.read_bytes() == b""
        if released:
            sink.release()
            assert sink.offer(b"second")
        assert sink.close(time.monotonic() + 60) == 0
    assert path.read_bytes() == (b"first, second" if released else b"")


@pytest.mark.parametrize("there", [True, False])
def test_what_a_new_file_begins_with_has_room_also_where_the_queue_is_full(there: bool, tmp_path: Path) -> None:
    def open_file() -> int:
        if not there:
            raise OSError
        return os.open(tmp_path / "new", os.O_WRONLY | os.O_CREAT, 0o600)

    with small_pipe() as (reader, writer):
        sink = ByteSink(writer, limit_bytes=200)
        while sink.offer(b"x" * 100):
            pass
        sink.reopen(open_file, b"head")
        assert not sink.offer(b"lost")
        os.set_blocking(reader.fileno(), False)
        read = b""
        deadline_s = time.monotonic() + 60
        while sink.close(time.monotonic() + 0.01):
            assert time.monotonic() < deadline_s
            read += reader.buffer.read(_PIPE_BYTES) or b""
        read += reader.buffer.read(_PIPE_BYTES) or b""
    whole = (tmp_path / "new").read_bytes() if there else read.lstrip(b"x")
    assert whole == b"head"


def test_each_piece_goes_to_the_file_that_was_the_newest_when_it_was_offered(tmp_path: Path) -> None:
    all_wait = threading.Event()

    def opener(path: Path) -> Callable[[], int]:
        def open_file() -> int:
            assert all_wait.wait(60)
            return os.open(path, os.O_WRONLY | os.O_CREAT, 0o600)

        return open_file

    paths = [tmp_path / name for name in ("first", "second", "third")]
    with paths[0].open("w") as stream:
        sink = ByteSink(stream.fileno())
        for path in paths[1:]:
            sink.offer(b"for the one before ")
            sink.offer(path.name.encode())
            sink.reopen(opener(path))
        sink.offer(b"last")
        all_wait.set()
        assert sink.close(time.monotonic() + 10) == 0
    assert [path.read_text() for path in paths] == ["for the one before second", "for the one before third", "last"]


def test_what_the_encoding_cannot_say_is_escaped(tmp_path: Path) -> None:
    with (tmp_path / "log").open("w") as stream:
        sink = Sink(stream.fileno(), str, encoding="ascii")
        sink.write("\u00e9\udc80")
        assert closed_in_time(sink) == 0
    assert (tmp_path / "log").read_text() == "\\xe9\\udc80\n"


def test_lines_that_do_not_fit_are_counted_and_the_count_stands_in_their_place() -> None:
    with small_pipe() as (reader, writer):
        sink = open_sink(writer, limit_bytes=_PIPE_BYTES)
        for number in range(10_000):
            sink.write(f"{number:99}")
        due = 0
        while due < 10_000:
            line = reader.readline()
            if line.endswith("dropped\n"):
                due += int(line.split()[0])
            else:
                assert int(line) == due
                due += 1
        assert closed_in_time(sink) == 0


def test_one_line_that_fits_nowhere_costs_no_other() -> None:
    with small_pipe() as (reader, writer):
        sink = open_sink(writer, limit_bytes=200)
        sink.write("x" * 300)
        assert reader.readline() == "1 dropped\n"
        sink.write("short")
        assert reader.readline() == "short\n"
        assert closed_in_time(sink) == 0


def test_the_end_waits_for_a_reader_that_never_reads_as_long_as_it_is_asked_to() -> None:
    with small_pipe() as (reader, writer):
        sink = open_sink(writer, limit_bytes=100 * 100)
        for _ in range(1000):
            sink.write(_LINE)
        assert 1000 - _PIPE_BYTES / 100 < closed_in_time(sink, within_s=0.1) <= 1000
        reader.close()
        sink._thread.join(60)  # else it goes on with the next file that has the descriptor's number


def test_a_line_that_cannot_be_written_is_reported_once_and_the_next_is_refused() -> None:
    with small_pipe() as (reader, writer):
        reader.close()
        failures: list[OSError] = []
        sink = open_sink(writer, failures=failures)
        sink.write(_LINE)
        assert closed_in_time(sink) == 0
        assert [failure.errno for failure in failures] == [errno.EPIPE]
        with pytest.raises(BrokenPipeError):
            sink.write(_LINE)


def test_a_descriptor_that_another_process_made_non_blocking_is_waited_for() -> None:
    with small_pipe() as (reader, writer):
        os.set_blocking(writer, False)
        sink = open_sink(writer)
        for _ in range(100):
            sink.write(_LINE)
        assert [reader.readline() for _ in range(100)] == [f"{_LINE}\n"] * 100
        assert closed_in_time(sink) == 0


def test_one_that_has_nothing_to_write_sleeps(tmp_path: Path) -> None:
    if sys.platform != "linux":
        missing("only Linux tells how often a thread has woken")
    with (tmp_path / "log").open("w") as stream:
        sink = open_sink(stream.fileno())
        status = Path(f"/proc/self/task/{sink._thread.native_id}/status")

        def times_woken() -> int:
            return int(status.read_text().partition("\nvoluntary_ctxt_switches:")[2].split()[0])

        def sleeps() -> bool:
            before = times_woken()
            time.sleep(0.1)  # much longer than it gathers for
            return times_woken() == before

        assert any(sleeps() for _ in range(20)), "it wakes though there is nothing to write"
        assert closed_in_time(sink) == 0
        assert not sink._thread.is_alive(), "it hears of its end"


def test_bytes_that_do_not_fit_are_refused_and_later_ones_taken() -> None:
    with small_pipe() as (reader, writer):
        sink = ByteSink(writer, limit_bytes=_PIPE_BYTES)
        taken = 0
        while sink.offer(b"x" * 99 + b"\n"):
            taken += 1
        assert taken >= _PIPE_BYTES // 100
        assert reader.readline() == "x" * 99 + "\n"
        while not sink.offer(b"last\n"):
            taken -= reader.readline() == "x" * 99 + "\n"
        lines = [reader.readline() for _ in range(taken)]
        assert lines[-1] == "last\n"
        assert sink.close(time.monotonic() + 10) == 0
