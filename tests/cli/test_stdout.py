"""A stdout that takes nothing: one line says so, and not even the interpreter adds to it at its end."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from support.capabilities import missing
from support.programs import RELAY, clean_environment, run

COMMANDS = ("--version", "profiles", "explain", "doctor", "demo", "demo --observer none --json")
_HINT = "hint: have it go to a terminal, a pipe, or a file with room to write\n"


def with_stdout(redirection: str, *arguments: str, stdout: int | None = None) -> tuple[int, str]:
    """The exit code of a relay command whose stdout a shell has redirected, and what it says."""
    if sys.platform == "win32":
        missing("needs a shell that can close a descriptor")
    done = subprocess.run(
        ["sh", "-c", f'exec "$@" {redirection}', "sh", *RELAY, *arguments],
        stdout=stdout,
        stderr=subprocess.PIPE,
        text=True,
        timeout=30,
        check=False,
        env=clean_environment(PYTHONUNBUFFERED=""),
    )
    return done.returncode, done.stderr


@pytest.mark.parametrize("command", [*COMMANDS[:5], "serve --quiet --listen 127.0.0.1:0 --events -"])
def test_one_that_is_closed_is_named(command: str) -> None:
    assert with_stdout(">&-", *command.split()) == (2, f"relay: stdout is closed\n{_HINT}")


@pytest.mark.parametrize("command", ["--help", *COMMANDS[:5]])
def test_one_that_is_full_is_named(command: str) -> None:
    if not Path("/dev/full").exists():
        missing("needs /dev/full")
    assert with_stdout(">/dev/full", *command.split()) == (2, f"relay: stdout: No space left on device\n{_HINT}")


def test_the_demo_says_what_became_of_its_stories_even_if_its_object_finds_no_room() -> None:
    if not Path("/dev/full").exists():
        missing("needs /dev/full")
    code, told = with_stdout(">/dev/full", *COMMANDS[5].split())
    assert (code, len(told.splitlines())) == (2, 4)
    assert told.startswith("relay: demo: ")
    assert told.endswith(f"relay: stdout: No space left on device\n{_HINT}")


@pytest.mark.parametrize("command", COMMANDS[:4])
def test_one_without_a_reader_causes_no_message(command: str) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    try:
        assert with_stdout("", *command.split(), stdout=writer) == (141, "")
    finally:
        os.close(writer)


def test_without_stderr_nothing_of_it_comes_to_stdout() -> None:
    done = run("sh", "-c", 'exec "$@" 2>&-', "sh", *RELAY, "explain", "nonesuch")
    assert (done.returncode, done.stdout) == (2, "")
