"""Colour: on a terminal, unless NO_COLOR says otherwise, and nowhere else."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from relay.observe import Fidelity, survey
from support.capabilities import missing
from support.flow_records import two_flows
from support.programs import RELAY, clean_environment, relay

_EXACT_IN_GREEN = "\x1b[32mexact      \x1b[0m"


@contextlib.contextmanager
def terminal() -> Iterator[tuple[int, int]]:
    """A terminal's two ends: ours, and the program's."""
    if sys.platform == "win32":
        missing("needs pseudo-terminals")
    ours, theirs = os.openpty()
    try:
        yield ours, theirs
    finally:
        os.close(ours)


def shown_on_terminal(ours: int, theirs: int, *arguments: str, until: str = "", **env: str) -> str:
    """What a relay command shows on the terminal that is its stdout and stderr; it is stopped after `until`."""
    with subprocess.Popen(
        [*RELAY, *arguments], stdout=theirs, stderr=theirs, stdin=theirs, env=clean_environment(TERM="xterm", **env)
    ) as process:
        os.close(theirs)
        shown = b""
        with contextlib.suppress(OSError):  # Linux's EIO: the other end is closed
            while data := os.read(ours, 65536):
                shown += data
                if until and until.encode() in shown:
                    process.terminate()
                    until = ""
    assert process.returncode == 0, shown
    return shown.decode()


@pytest.mark.parametrize(
    ("env", "coloured"), [({}, True), ({"NO_COLOR": "1"}, False), ({"NO_COLOR": ""}, True)], ids=str
)
@pytest.mark.parametrize("command", ["doctor", "explain"])
def test_reports_are_coloured_on_a_terminal_unless_no_color_is_set(
    command: str, env: dict[str, str], coloured: bool
) -> None:
    with terminal() as (ours, theirs):
        shown = shown_on_terminal(ours, theirs, command, **env)
    assert (_EXACT_IN_GREEN in shown, "\x1b" in shown) == (coloured, coloured)
    assert "exact" in shown


@pytest.mark.parametrize("command", ["doctor", "explain"])
def test_reports_into_a_pipe_have_no_colour(command: str) -> None:
    assert "\x1b" not in relay(command).stdout


@pytest.mark.parametrize(("env", "coloured"), [({}, True), ({"NO_COLOR": "1"}, False)], ids=str)
def test_a_reset_is_red_in_a_ladder_on_a_terminal(env: dict[str, str], coloured: bool, tmp_path: Path) -> None:
    events = tmp_path / "events.jsonl"
    events.write_text(two_flows().lines())
    with terminal() as (ours, theirs):
        shown = shown_on_terminal(ours, theirs, "ladder", str(events), **env)
    assert ("\x1b[31m◀──────────── RST, by tos-reset ─\x1b[0m" in shown, "\x1b" in shown) == (coloured, coloured)
    assert "◀──────────── RST, by tos-reset ─" in shown


@pytest.mark.parametrize(("env", "coloured"), [({}, True), ({"NO_COLOR": "1"}, False)], ids=str)
def test_the_banner_and_the_event_log_are_coloured_on_a_terminal(
    env: dict[str, str], coloured: bool, backend: str
) -> None:
    with terminal() as (ours, theirs):
        arguments = ("serve", "--listen", "127.0.0.1:0", "--backend", backend)
        shown = shown_on_terminal(ours, theirs, *arguments, until="link-down-reset", **env)
    assert (_EXACT_IN_GREEN in shown, "\x1b" in shown) == (coloured, coloured)
    dim = "\x1b[2m" if coloured else ""
    stopped = next(line for line in shown.splitlines() if "relay stopped" in line)
    assert stopped.startswith(dim)
    assert stopped.endswith("\x1b[0m") is coloured


def test_each_fidelity_has_a_colour_of_its_own() -> None:
    with terminal() as (ours, theirs):
        shown = shown_on_terminal(ours, theirs, "doctor", "--observer", "none")
    colours = {
        support.fidelity: next(line for line in shown.splitlines() if support.fidelity.value in line).split("m")[0]
        for support in survey("none").support.values()
    }
    assert colours == {
        Fidelity.EXACT: "  \x1b[32",
        Fidelity.APPROXIMATE: "  \x1b[33",
        Fidelity.IMPOSSIBLE: "  \x1b[31",
    }
