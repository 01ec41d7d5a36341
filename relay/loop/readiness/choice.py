"""Which way of watching sockets this host has."""

from __future__ import annotations

import select
from collections.abc import Callable

from anyio.abc import TaskGroup

from relay.loop.readiness._api import Readiness
from relay.loop.readiness.epoll import EpollReadiness
from relay.loop.readiness.kqueue import KqueueReadiness
from relay.loop.readiness.tasks import TaskReadiness


def open_readiness(tasks: TaskGroup, on_fault: Callable[[Exception], None]) -> Readiness:
    """Open the best way that this host has; `on_fault` gets what a watcher raises."""
    if hasattr(select, "epoll"):
        return EpollReadiness(on_fault)
    if hasattr(select, "kqueue"):
        return KqueueReadiness(on_fault)
    return TaskReadiness(tasks, on_fault)
