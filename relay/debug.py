"""`RELAY_DEBUG=1` in the environment: what helps to find a bug in the relay, or in a behaviour."""

from __future__ import annotations

import os
import sys
import traceback


def is_debugging() -> bool:
    """Whether it is set, to anything."""
    return bool(os.environ.get("RELAY_DEBUG"))


def traceback_of(fault: BaseException) -> str:
    """Where an exception comes from, and what caused it, as Python prints it."""
    return "".join(traceback.format_exception(fault))


def show_traceback(fault: Exception) -> None:
    """Print where an exception comes from, on stderr, if it is set."""
    if is_debugging():
        traceback.print_exception(fault, file=sys.stderr)
