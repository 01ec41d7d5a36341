"""Signals as an async iterator, on every OS, and a Ctrl-C that counts once.

Where the event loop cannot watch signals (Windows), a handler of our own notes them, and the iterator looks a few times
a second.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from types import FrameType

import anyio

from relay.clock import real_s

_LOOK_EVERY_S = 0.1
_PUT_AWAY_S = 5.0  # five times what the slowest story needs
_INTERRUPTED = 130  # 128 + SIGINT, as shells have it


@contextmanager
def open_signals(*numbers: signal.Signals) -> Iterator[AsyncIterator[signal.Signals]]:
    """Receive these signals, instead of dying of them, for as long as the block lasts."""
    before = {number: signal.getsignal(number) for number in numbers}
    try:
        if sys.platform != "win32":
            with anyio.open_signal_receiver(*numbers) as received:
                yield received
        else:
            noted: list[signal.Signals] = []
            for number in numbers:
                signal.signal(number, lambda number, frame: noted.append(signal.Signals(number)))
            yield _poll(noted)
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)  # asyncio leaves Python's own for SIGINT, whatever was there


async def _poll(noted: list[signal.Signals]) -> AsyncIterator[signal.Signals]:
    while True:
        while noted:
            yield noted.pop(0)
        await anyio.sleep(_LOOK_EVERY_S)


@contextmanager
def interrupted_once() -> Iterator[None]:
    """Have the first Ctrl-C end the block, and later ones do nothing, so that the clean-up runs undisturbed.

    If the clean-up takes much too long, one more Ctrl-C ends the process. Outside the main thread, and where Ctrl-C is
    already handled otherwise or ignored, nothing changes.
    """
    before = signal.getsignal(signal.SIGINT)
    if not _in_main_thread() or before not in {signal.default_int_handler, signal.SIG_DFL}:
        yield
        return
    handler = _FirstInterrupt()
    signal.signal(signal.SIGINT, handler)
    try:
        yield
    finally:
        # After one the process is about to end, and Python takes handlers away before it has; what is ignored stays.
        signal.signal(signal.SIGINT, before if handler.came_at_s is None else signal.SIG_IGN)


@contextmanager
def interrupts_held() -> Iterator[None]:
    """Have a Ctrl-C wait for the end of the block; in the main thread alone, for no other thread gets one."""
    before = signal.getsignal(signal.SIGINT)
    if not _in_main_thread() or not callable(before):
        yield
        return
    held: list[tuple[int, FrameType | None]] = []
    signal.signal(signal.SIGINT, lambda number, frame: held.append((number, frame)))
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
        for number, frame in held[:1]:
            before(number, frame)


@contextmanager
def first_interrupt_passed() -> Iterator[None]:
    """Have the first Ctrl-C in the block do nothing: it also reaches the program whose output is read, and ends that.

    The next one ends this process as it would have without the block.
    """
    before = signal.getsignal(signal.SIGINT)
    if not _in_main_thread() or before not in {signal.default_int_handler, signal.SIG_DFL}:
        yield
        return
    signal.signal(signal.SIGINT, lambda number, frame: signal.signal(signal.SIGINT, before))
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


class _FirstInterrupt:
    def __init__(self) -> None:
        self.came_at_s: float | None = None

    def __call__(self, number: int, frame: FrameType | None) -> None:
        if self.came_at_s is None:
            self.came_at_s = real_s()
            raise KeyboardInterrupt
        if real_s() - self.came_at_s > _PUT_AWAY_S:
            os._exit(_INTERRUPTED)


def _in_main_thread() -> bool:
    return threading.current_thread() is threading.main_thread()
