"""A way into the event loop of another thread, from any thread: also from one that runs trio, to another trio.

trio has no thread of its own wait for another trio. There a call is made by a thread that does nothing else, and the
caller waits for that one.
"""

from __future__ import annotations

import sys
from collections.abc import Awaitable, Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractAsyncContextManager, AbstractContextManager, contextmanager
from typing import Any, TypeVar, overload

from anyio.from_thread import BlockingPortal, start_blocking_portal

from relay.backend import runs_trio

T = TypeVar("T")


class Portal:
    """Calls functions in the thread of an event loop, and waits for what they return."""

    def __init__(self, portal: BlockingPortal, library: str) -> None:
        self._portal = portal
        self._library = library

    @overload
    def call(self, function: Callable[..., Awaitable[T]], *arguments: Any) -> T: ...

    @overload
    def call(self, function: Callable[..., T], *arguments: Any) -> T: ...

    def call(self, function: Callable[..., Any], *arguments: Any) -> Any:
        """Call a function there, or await one that is async, and return or raise what it does."""
        return _away_from_trio(self._library, self._portal.call, function, *arguments)

    def enter(self, manager: AbstractAsyncContextManager[T]) -> AbstractContextManager[T]:
        """The same as a context manager for this thread."""
        return _from_any_thread(self._library, self._portal.wrap_async_context_manager(manager))


@contextmanager
def open_portal(library: str, options: Mapping[str, Any]) -> Iterator[Portal]:
    """Run an event loop in a thread for as long as the block lasts."""
    with _from_any_thread(library, start_blocking_portal(library, dict(options))) as portal:
        yield Portal(portal, library)


@contextmanager
def _from_any_thread(library: str, manager: AbstractContextManager[T]) -> Iterator[T]:
    """A context manager that calls into an event loop of this library."""
    entered = _away_from_trio(library, manager.__enter__)
    try:
        yield entered
    except BaseException:
        if not _away_from_trio(library, manager.__exit__, *sys.exc_info()):
            raise
    else:
        _away_from_trio(library, manager.__exit__, None, None, None)


def _away_from_trio(library: str, function: Callable[..., T], *arguments: Any) -> T:
    """Call a function that waits for an event loop of this library."""
    if library != "trio" or not runs_trio():
        return function(*arguments)
    with ThreadPoolExecutor(1) as thread:
        return thread.submit(function, *arguments).result()
