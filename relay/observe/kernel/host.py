"""What everything that watches needs of the engine that runs it: its clock and its poll."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol


class Timer(Protocol):
    """A call that is due."""

    def cancel(self) -> None:
        """Call it off; nothing happens if it was made already."""


class Pollable(Protocol):
    """Something with a descriptor that can become readable: a socket, or a ring."""

    def fileno(self) -> int: ...
    def close(self) -> None: ...


class Host(Protocol):
    """What providers need of the engine: its clock and its poll."""

    def call_later(self, delay_s: float, callback: Callable[[], None]) -> Timer:
        """Call back once, in `delay_s` seconds; 0 is soon, but not before this call returns."""

    def watch_readable(self, sock: Pollable, callback: Callable[[], None]) -> Callable[[], None]:
        """Call back whenever `sock` has got something to read, and return what ends that.

        Edge-triggered: a caller that does not read until it would block may not be called again.
        """
