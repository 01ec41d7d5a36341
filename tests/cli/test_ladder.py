"""`relay ladder`: what it prints of good files, and what it says of empty, cut-off and foreign ones."""

from __future__ import annotations

import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from support.capabilities import missing
from support.flow_records import Told, rebuilt_capture, two_flows
from support.forks import relay_in_fork
from support.programs import RELAY, run
from support.programs import relay as run_relay


@pytest.fixture
def events(tmp_path: Path) -> Path:
    told = two_flows()
    told.open(3.0, 3)
    path = tmp_path / "events.jsonl"
    path.write_text(told.lines())
    return path


def heads(text: str) -> list[str]:
    return [line.split()[0] for line in text.splitlines() if line.startswith("#")]


def test_every_flow_is_drawn_below_the_profile_that_it_met(events: Path) -> None:
    done = relay_in_fork("ladder", str(events))
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.partition("\n")[0].endswith(", profile vmware-fusion-11, seed 7")
    assert heads(done.stdout) == ["#1", "#2", "#3"]
    assert "◀──────────── RST, by tos-reset ─┤" in done.stdout
    assert max(map(len, done.stdout.splitlines())) <= 80


def test_one_flow_is_drawn_alone_or_several(events: Path) -> None:
    assert heads(relay_in_fork("ladder", str(events), "--flow", "2").stdout) == ["#2"]
    assert heads(relay_in_fork("ladder", "--flow", "3", str(events), "--flow", "1").stdout) == ["#1", "#3"]


def test_a_terminal_with_ascii_gets_ascii(events: Path) -> None:
    done = run_relay("ladder", str(events), PYTHONIOENCODING="ascii")
    assert done.stdout.isascii()
    assert "<------------ RST, by tos-reset -+" in done.stdout


def test_a_pipe_is_read(events: Path) -> None:
    done = run(*RELAY, "ladder", "-", input_=events.read_text())
    assert (done.returncode, done.stderr) == (0, "")
    assert heads(done.stdout) == ["#1", "#2", "#3"]


def test_a_pipe_is_drawn_as_it_grows_and_to_its_end_after_ctrl_c() -> None:
    if sys.platform == "win32":
        missing("on Windows no Ctrl-C is sent to one process alone")
    whole = two_flows()
    whole.open(3.0, 3)
    *lines, last = whole.lines().splitlines(keepends=True)
    with subprocess.Popen([*RELAY, "ladder", "-"], stdin=-1, stdout=-1, text=True, bufsize=0) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write("".join(lines))
        seen = ""
        while "ended by tos-reset" not in seen:
            seen += process.stdout.readline()
        process.send_signal(signal.SIGINT)
        process.stdin.write(last)
        process.stdin.close()
        assert "open when the log ends" in process.stdout.read()
    assert process.returncode == 0


def test_a_file_that_is_cut_off_is_drawn_as_far_as_it_goes(events: Path) -> None:
    data = events.read_bytes()
    events.write_bytes(data[:200] + b"\nno JSON\n" + data[data.index(b"\n") + 1 :][:-40])
    done = relay_in_fork("ladder", str(events))
    assert done.returncode == 0
    assert heads(done.stdout) == ["#1", "#2"]
    first, second, third = done.stderr.splitlines()
    assert first.startswith(f"relay: {events}: line 1: no JSON: it ends early")
    assert second.startswith(f"relay: {events}: line 2: no JSON at column 1, ")
    assert f"relay: {events}: line " in third
    assert "it is cut off, or the file still grows" in third


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (b"", "has no record of a relay: it is empty"),
        (b"<html>\n", "has no record of a relay: line 1: no JSON at column 1, '<html>'"),
        (b'{"hello": 1}\n', "has no record of a relay: line 1: it has no 'event', which every record has"),
    ],
    ids=["empty", "html", "json"],
)
def test_a_file_with_nothing_in_it_is_an_error(tmp_path: Path, content: bytes, told: str) -> None:
    path = tmp_path / "events.jsonl"
    path.write_bytes(content)
    done = relay_in_fork("ladder", str(path))
    assert (done.returncode, done.stdout) == (2, "")
    hint = "hint: give the file that --events or --pcap wrote, or - for stdin"
    assert done.stderr == f"relay: {path} {told}\n{hint}\n"


def test_of_very_many_foreign_lines_the_first_are_shown(events: Path) -> None:
    events.write_bytes(events.read_bytes() + b"x\n" * 100)
    *_, last, hint = relay_in_fork("ladder", str(events)).stderr.splitlines()
    assert last == f"relay: {events}: 80 more lines are no records"
    assert hint.startswith("hint: give the file")


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["none.jsonl"], "relay: cannot read none.jsonl: No such file or directory\nhint: give the file"),
        (["."], "relay: cannot read .: Is a directory\n"),
        (["EVENTS", "--flow", "9"], "relay: --flow: there is no flow 9\nhint: flows are numbered, here 1 to 3\n"),
        (["EVENTS", "--flow", "x"], "relay: --flow: 'x' is not a whole number\nhint: e.g. --flow 2\n"),
        ([], "relay: missing argument FILE|-\n"),
    ],
)
def test_what_cannot_be_drawn_is_named(events: Path, arguments: list[str], told: str) -> None:
    done = relay_in_fork("ladder", *(str(events) if each == "EVENTS" else each for each in arguments))
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith(told)


def test_a_log_without_flows_says_so(tmp_path: Path) -> None:
    told = Told()
    told.start()
    path = tmp_path / "events.jsonl"
    path.write_text(told.lines())
    assert relay_in_fork("ladder", str(path)).stderr.startswith("relay: there is no flow in these events\n")


def test_a_capture_is_drawn_as_the_events_are(tmp_path: Path) -> None:
    path = tmp_path / "flows.pcapng"
    path.write_bytes(rebuilt_capture(two_flows().records))
    done = relay_in_fork("ladder", str(path), "--flow", "2")
    assert (done.returncode, done.stderr) == (0, "")
    assert "◀──────────── RST, by tos-reset ─┤" in done.stdout
    path.write_bytes(path.read_bytes()[:-10])
    done = relay_in_fork("ladder", str(path))
    assert done.returncode == 0
    assert re.fullmatch(rf"relay: {path}: block \d+: it is cut off, or the file still grows\n", done.stderr)


def test_another_programs_capture_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "flows.pcapng"
    path.write_bytes(rebuilt_capture(two_flows().records).replace(b"guest", b"wlan0"))
    done = relay_in_fork("ladder", str(path))
    assert (done.returncode, done.stdout) == (2, "")
    assert "its interface 'wlan0' is neither guest nor host: another program wrote it" in done.stderr
