"""Linux: one edge-triggered epoll."""

from __future__ import annotations

import select
from collections.abc import Callable

from relay.loop.readiness._queue import KernelQueue


class EpollReadiness(KernelQueue):
    """One edge-triggered epoll instance."""

    def __init__(self, on_fault: Callable[[Exception], None]) -> None:
        self._epoll = select.epoll()
        super().__init__(self._epoll.fileno())
        self._on_fault = on_fault
        self._read_edges = select.EPOLLIN | select.EPOLLPRI | select.EPOLLRDHUP | select.EPOLLET
        self._all_edges = self._read_edges | select.EPOLLOUT
        self._read_mask = select.EPOLLIN | select.EPOLLRDHUP | select.EPOLLHUP | select.EPOLLERR
        self._write_mask = select.EPOLLOUT | select.EPOLLHUP | select.EPOLLERR
        self._end_mask = select.EPOLLPRI | select.EPOLLRDHUP | select.EPOLLHUP | select.EPOLLERR

    def deliver(self, wait_s: float = 0) -> int:
        events = self._epoll.poll(wait_s, self.max_events)
        for descriptor, mask in events:
            # An earlier event of this round may have ended it, and its number may be another's already: to that one
            # this is an edge for nothing.
            watcher = self._watchers[descriptor]
            if watcher is None:
                continue
            try:
                watcher.on_ready(
                    bool(mask & self._read_mask), bool(mask & self._write_mask), bool(mask & self._end_mask)
                )
            except Exception as fault:
                self._on_fault(fault)
        return len(events)

    def _add(self, descriptor: int) -> None:
        self._epoll.register(descriptor, self._read_edges)

    def _add_writes(self, descriptor: int) -> None:
        self._epoll.modify(descriptor, self._all_edges)

    def _remove(self, descriptor: int) -> None:
        self._epoll.unregister(descriptor)

    def _close_queue(self) -> None:
        self._epoll.close()
