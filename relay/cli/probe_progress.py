"""How far a probe is: a bar with the time left on a terminal, else a line for each probe."""

from __future__ import annotations

from types import TracebackType
from typing import TextIO

import anyio

from relay.clock import real_s

_WIDTH = 24
_EVERY_S = 0.5


class ProgressLine:
    """Tells people on a stream what a probe does; it is a context that leaves the line clear."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._is_terminal = stream.isatty()
        self._name = ""
        self._began_s = real_s()
        self._whole_s = 0.0
        self._ends_s = 0.0

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._name = ""
        if self._is_terminal:
            self._stream.write("\r\x1b[K")
            self._stream.flush()

    def began(self, name: str, takes_s: float, left_s: float) -> None:
        """A probe begins."""
        now_s = real_s()
        self._name = name
        self._ends_s = now_s + left_s
        self._whole_s = max(self._ends_s - self._began_s, 0.1)
        if self._is_terminal:
            self.draw()
        else:
            print(f"{name:12} about {in_words(left_s)} left", file=self._stream, flush=True)

    async def run(self) -> None:
        """Draw the bar anew, until cancelled."""
        while True:
            await anyio.sleep(_EVERY_S)
            if self._is_terminal and self._name:
                self.draw()

    def draw(self) -> None:
        """Draw the bar as it is now."""
        left_s = max(0.0, self._ends_s - real_s())
        done = round(_WIDTH * (1 - left_s / self._whole_s))
        bar = "#" * done + "." * (_WIDTH - done)
        self._stream.write(f"\r\x1b[K{self._name:12} [{bar}] about {in_words(left_s)} left")
        self._stream.flush()


def in_words(seconds: float) -> str:
    """A length of time, as people say it."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    if seconds < 5400:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3600:.1f} h"
