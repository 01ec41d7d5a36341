"""The output of a command: data to stdout, complaints to stderr, colours where the stream shows them."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import TextIO

from relay.errors import ConfigError
from relay.printable import escape_unprintable

STDOUT_HINT = "have it go to a terminal, a pipe, or a file with room to write"


def stdout() -> TextIO:
    """Where data go.

    Raises:
        ConfigError: it is closed.
    """
    if sys.stdout is None:
        raise ConfigError("stdout is closed", hint=STDOUT_HINT)
    return sys.stdout


def stdout_failure() -> OSError | None:
    """Why stdout takes no more of what was written to it, if it does not."""
    if sys.stdout is None or sys.stdout.closed:
        return None
    try:
        sys.stdout.flush()
    except OSError as failure:
        return failure
    return None


class StdoutFailed(Exception):
    """Data that is longer than the buffer could not be written; `failure` says why."""

    def __init__(self, failure: OSError) -> None:
        super().__init__(str(failure))
        self.failure = failure


def tell(text: str, *, at_once: bool = False) -> None:
    """Print data, `at_once` into a pipe, too.

    Raises:
        StdoutFailed: they cannot be written.
    """
    try:
        print(text, file=stdout(), flush=at_once)
    except OSError as failure:
        raise StdoutFailed(failure) from None


def tell_json(data: object) -> None:
    """Print data as JSON that people can read, too."""
    tell(json.dumps(data, indent=2, ensure_ascii=False))


def complaint(message: str, hint: str) -> str:
    """What is wrong in one line, and in another, if there is something, what to do about it."""
    lines = [f"relay: {message}", f"hint: {hint}"] if hint else [f"relay: {message}"]
    return "\n".join(map(escape_unprintable, lines))


def complain(message: str, hint: str) -> None:
    """Say what is wrong, and what to do about it."""
    print(complaint(message, hint), file=sys.stderr)  # noqa: T201


def mute_stderr() -> None:
    """Discard what is printed on stderr from now on; printing there never blocks."""
    sys.stderr = Path(os.devnull).open("w")  # noqa: SIM115 - as long as the process


def colour(stream: TextIO) -> bool:
    """Whether what is written there should have colours."""
    return stream.isatty() and not os.environ.get("NO_COLOR")
