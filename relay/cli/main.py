"""Runs the command line: how a command ends, well or not, becomes an exit code and at most two lines on stderr."""

from __future__ import annotations

import sys
import warnings
from contextlib import suppress

import typer

from relay.cli.app import app
from relay.cli.terminal import STDOUT_HINT, StdoutFailed, complain, mute_stderr, stdout_failure
from relay.cli.usage import word_usage
from relay.debug import is_debugging
from relay.errors import BrokenBehaviour, RelayError


def main() -> None:
    """Run the command line and exit."""
    warnings.showwarning = _show_warning
    warnings.simplefilter("default", BrokenBehaviour)
    if sys.stderr is None:  # closed: its text must not end up among the data
        mute_stderr()
    raise SystemExit(run(sys.argv[1:]))


def run(arguments: list[str]) -> int:
    """Run the command line; returns the exit code."""
    try:
        code = _run(arguments)
        failure = stdout_failure()
    except StdoutFailed as stopped:
        code, failure = 2, stopped.failure
    if failure is None:
        return code
    with suppress(OSError):
        sys.stdout.close()  # or the interpreter would try and fail once more
    if isinstance(failure, BrokenPipeError):  # the reader has left, so nothing is missing
        return 141
    complain(f"stdout: {failure.strerror}", STDOUT_HINT)
    return 2


def _run(arguments: list[str]) -> int:
    try:
        result = typer.main.get_command(app).main(arguments or ["--help"], prog_name="relay", standalone_mode=False)
    except RelayError as error:
        complain(str(error), error.hint)
        return error.exit_code
    except typer.Abort:
        return 130
    except BrokenPipeError:
        sys.stderr.close()  # the reader has left, and the interpreter would say so again
        return 141
    except StdoutFailed:
        raise
    except Exception as fault:
        if isinstance(fault.__cause__, KeyboardInterrupt):  # while a class was made: Python 3.11 wraps it then
            return 130
        if hasattr(fault, "format_message"):  # the parser's: an unknown option or command, a value that does not fit
            command = _command_path(getattr(fault, "ctx", None), arguments)
            complain(*word_usage(fault, command))
            return 2
        if isinstance(fault, OSError) and stdout_failure() is not None:
            return 2  # and `run` says why
        if is_debugging():
            raise
        complain(f"bug: {type(fault).__name__}: {fault}", "please report it; RELAY_DEBUG=1 shows where")
        return 1
    return result if isinstance(result, int) else 0


def _show_warning(message: Warning | str, category: type[Warning], *_: object, **__: object) -> None:
    """A warning as a line of its own; those for programmers are shown with `RELAY_DEBUG` alone."""
    if is_debugging() or issubclass(category, BrokenBehaviour):
        complain(str(message), "")


def _command_path(context: object, arguments: list[str]) -> str:
    # An option without its value, or with one too many, comes without a context. What stands first is then a command.
    words = ["relay", *(word for word in arguments[:1] if not word.startswith("-"))]
    return str(getattr(context, "command_path", " ".join(words)))
