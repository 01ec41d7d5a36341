"""Signals as an async iterator, on every OS.

Where the event loop cannot watch signals (Windows), a handler of our own notes them, and the iterator looks a few times
a second.
"""

from __future__ import annotations

import signal
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from types import FrameType

import anyio

_LOOK_EVERY_S = 0.1


@contextmanager
def open_signals(*numbers: signal.Signals) -> Iterator[AsyncIterator[signal.Signals]]:
    """Receive these signals, instead of dying of them, for as long as the block lasts."""
    if sys.platform != "win32":
        with anyio.open_signal_receiver(*numbers) as received:
            yield received
        return
    noted: list[signal.Signals] = []

    def note(number: int, frame: FrameType | None) -> None:
        noted.append(signal.Signals(number))

    before = {number: signal.signal(number, note) for number in numbers}
    try:
        yield _poll(noted)
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


async def _poll(noted: list[signal.Signals]) -> AsyncIterator[signal.Signals]:
    while True:
        while noted:
            yield noted.pop(0)
        await anyio.sleep(_LOOK_EVERY_S)
