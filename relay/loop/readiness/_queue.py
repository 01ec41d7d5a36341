"""What epoll and kqueue have in common: one descriptor of the kernel's, which stands for every socket."""

from __future__ import annotations

from abc import ABC, abstractmethod

import anyio

from relay.loop.forks import held
from relay.loop.readiness._api import Watcher


class KernelQueue(ABC):
    """Keeps the watcher of each descriptor; a subclass asks the kernel.

    A closed socket leaves the kernel's queue by itself.
    """

    max_events = 512  # some 10 ms of work, before the host's other tasks go on

    def __init__(self, descriptor: int) -> None:
        self.descriptor: int | None = descriptor
        self._watchers: list[Watcher | None] = []  # by descriptor: a quarter of a dictionary's memory
        self._writers: set[int] = set()  # the descriptors for which write edges are on

    def watch(self, watcher: Watcher) -> None:
        descriptor = watcher.sock.fileno()
        if descriptor >= len(self._watchers):
            self._watchers += [None] * (descriptor + 1 - len(self._watchers))
        self._add(descriptor)
        self._watchers[descriptor] = watcher

    def unwatch(self, watcher: Watcher) -> None:
        # Before the socket is closed: a closed descriptor's number may be another socket's already.
        descriptor = watcher.sock.fileno()
        if self._is_watched(descriptor, watcher):
            self._remove(descriptor)
            self._forget(descriptor)

    def unwatch_and_close(self, watcher: Watcher) -> None:
        with held:
            sock = watcher.sock
            descriptor = sock.fileno()
            if self._is_watched(descriptor, watcher):
                self._forget(descriptor)
            sock.close()

    def rearm_read(self, watcher: Watcher) -> None:
        return  # the next edge comes unasked

    def rearm_write(self, watcher: Watcher) -> None:
        descriptor = watcher.sock.fileno()
        if descriptor not in self._writers and self._is_watched(descriptor, watcher):
            self._writers.add(descriptor)
            self._add_writes(descriptor)

    def watched(self) -> list[Watcher]:
        return [watcher for watcher in self._watchers if watcher is not None]

    async def wait(self) -> None:
        assert self.descriptor is not None  # noqa: S101 - it has one from the first
        await anyio.wait_readable(self.descriptor)

    @property
    def most_ready(self) -> int:
        return len(self._watchers) + len(self._writers)

    def close(self) -> None:
        with held:
            for watcher in self.watched():
                watcher.sock.close()
            self._watchers.clear()
        self._close_queue()

    @abstractmethod
    def _add(self, descriptor: int) -> None:
        """Make the kernel report when this descriptor becomes readable."""

    @abstractmethod
    def _add_writes(self, descriptor: int) -> None:
        """Make the kernel report when it becomes writable, too."""

    @abstractmethod
    def _remove(self, descriptor: int) -> None:
        """Make the kernel stop reporting this descriptor."""

    @abstractmethod
    def _close_queue(self) -> None: ...

    def _is_watched(self, descriptor: int, watcher: Watcher) -> bool:
        return 0 <= descriptor < len(self._watchers) and self._watchers[descriptor] is watcher

    def _forget(self, descriptor: int) -> None:
        self._watchers[descriptor] = None
        self._writers.discard(descriptor)
