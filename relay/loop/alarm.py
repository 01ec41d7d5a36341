"""An alarm: a descriptor that becomes readable at a moment of the real clock, whatever clock the async library has.

    timerfd   Linux: the kernel's own timer
    thread    elsewhere: a thread that sleeps, and writes to a socket

asyncio's `call_later` and trio's deadlines go by `loop.time()` and `trio.current_time()`. A test that freezes those
(freezegun, MockClock), or lets them jump, would stop a relay in its process, or make it check its timers without pause.

CPU time to wait for one timer, measured in one run: asyncio 62 us with its own call_later, 64 with a timerfd, 132 with
the thread; trio 100, 77 and 117.
"""

from __future__ import annotations

import ctypes
import math
import os
import socket
import sys
import threading
from contextlib import suppress
from typing import Protocol

from relay.clock import real_s

_NS = 1_000_000_000
_CLOCK_MONOTONIC = 1  # <time.h>; TFD_NONBLOCK and TFD_CLOEXEC are O_NONBLOCK and O_CLOEXEC
_TFD_TIMER_ABSTIME = 1  # <sys/timerfd.h>


class Alarm(Protocol):
    """Something to wait for."""

    def fileno(self) -> int:
        """A descriptor that is readable from the moment that was set until `clear`."""

    def set(self, due_s: float) -> None:
        """Ring at this moment of the real clock, and not at the one that was set before."""

    def clear(self) -> None:
        """Silence the alarm after it rang."""

    def close(self) -> None:
        """Ring no more, and give the descriptor back."""


class TimerFd:
    """A timerfd.

    Raises:
        OSError, AttributeError: this host has none.
    """

    def __init__(self) -> None:
        libc = ctypes.CDLL(None, use_errno=True)
        self._settime = libc.timerfd_settime
        self._settime.argtypes = [ctypes.c_int, ctypes.c_int, ctypes.POINTER(_Itimerspec), ctypes.c_void_p]
        self._descriptor: int = libc.timerfd_create(_CLOCK_MONOTONIC, os.O_NONBLOCK | os.O_CLOEXEC)
        if self._descriptor < 0:
            number = ctypes.get_errno()
            raise OSError(number, os.strerror(number))
        self._spec = _Itimerspec()
        self._address = ctypes.pointer(self._spec)

    def fileno(self) -> int:
        return self._descriptor

    def set(self, due_s: float) -> None:
        due_ns = max(1, math.ceil(due_s * _NS))  # 0 would disarm it
        self._spec.value_s, self._spec.value_ns = divmod(due_ns, _NS)
        self._settime(self._descriptor, _TFD_TIMER_ABSTIME, self._address, None)

    def clear(self) -> None:
        with suppress(BlockingIOError):  # it was set anew meanwhile
            os.read(self._descriptor, 8)

    def close(self) -> None:
        os.close(self._descriptor)


class _Itimerspec(ctypes.Structure):
    _fields_ = (
        ("interval_s", ctypes.c_long),
        ("interval_ns", ctypes.c_long),
        ("value_s", ctypes.c_long),
        ("value_ns", ctypes.c_long),
    )


class AlarmThread:
    """A thread that sleeps until the moment."""

    def __init__(self) -> None:
        self._heard, self._rung = socket.socketpair()
        for end in (self._heard, self._rung):
            end.setblocking(False)
        self._changed = threading.Condition()
        self._due_s = math.inf
        self._closed = False
        self._thread = threading.Thread(target=self._run, name="relay alarm", daemon=True)
        self._thread.start()

    def fileno(self) -> int:
        return self._heard.fileno()

    def set(self, due_s: float) -> None:
        with self._changed:
            self._due_s = due_s
            self._changed.notify()

    def clear(self) -> None:
        with suppress(BlockingIOError):
            self._heard.recv(64)

    def close(self) -> None:
        with self._changed:
            self._closed = True
            self._changed.notify()
        self._thread.join()
        self._heard.close()
        self._rung.close()

    def _run(self) -> None:
        with self._changed:
            while not self._closed:
                left_s = self._due_s - real_s()
                if left_s > 0:
                    self._changed.wait(min(left_s, threading.TIMEOUT_MAX) if left_s < math.inf else None)
                    continue
                self._due_s = math.inf
                with suppress(BlockingIOError):  # earlier rings fill the socket: it is readable already
                    self._rung.send(b"!")


def open_alarm() -> Alarm:
    """The best alarm that this host has."""
    if sys.platform == "linux":
        with suppress(OSError, AttributeError):
            return TimerFd()
    return AlarmThread()
