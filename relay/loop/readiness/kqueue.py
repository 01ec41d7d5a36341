"""macOS and the BSDs: one kqueue, whose filters are edges by EV_CLEAR.

kqueue does not report that a read will stop short before urgent data. So for a watcher every socket may have `ended`,
and is read until nothing is left.
"""

from __future__ import annotations

import select
from collections.abc import Callable
from typing import Any

from relay.loop.readiness._queue import KernelQueue

_kernel: Any = select  # type checkers know kqueue's names only where it is


class KqueueReadiness(KernelQueue):
    """One kqueue."""

    def __init__(self, on_fault: Callable[[Exception], None]) -> None:
        self._kqueue = _kernel.kqueue()
        super().__init__(self._kqueue.fileno())
        self._on_fault = on_fault
        self._write = _kernel.KQ_FILTER_WRITE

    def deliver(self, wait_s: float = 0) -> int:
        events = self._kqueue.control(None, self.max_events, wait_s)
        for event in events:
            watcher = self._watchers[event.ident]  # as with epoll, it may be another's by now
            if watcher is None:
                continue
            writable = event.filter == self._write
            try:
                watcher.on_ready(not writable, writable, True)
            except Exception as fault:
                self._on_fault(fault)
        return len(events)

    def _add(self, descriptor: int) -> None:
        self._change(descriptor, _kernel.KQ_FILTER_READ, _kernel.KQ_EV_ADD | _kernel.KQ_EV_CLEAR)

    def _add_writes(self, descriptor: int) -> None:
        self._change(descriptor, self._write, _kernel.KQ_EV_ADD | _kernel.KQ_EV_CLEAR)

    def _remove(self, descriptor: int) -> None:
        self._change(descriptor, _kernel.KQ_FILTER_READ, _kernel.KQ_EV_DELETE)
        if descriptor in self._writers:
            self._change(descriptor, self._write, _kernel.KQ_EV_DELETE)

    def _close_queue(self) -> None:
        self._kqueue.close()

    def _change(self, descriptor: int, filter_: int, flags: int) -> None:
        self._kqueue.control([_kernel.kevent(descriptor, filter_, flags)], 0)
