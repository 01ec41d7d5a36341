"""What every way of watching sockets offers, and what it wants of those who have one watched."""

from __future__ import annotations

from typing import Protocol


class Pollable(Protocol):
    """A socket, or whatever else has a descriptor that becomes readable."""

    def fileno(self) -> int: ...
    def close(self) -> None: ...


class Watcher(Protocol):
    """The owner of a watched socket."""

    @property
    def sock(self) -> Pollable: ...

    def on_ready(self, readable: bool, writable: bool, ended: bool) -> None:
        """The socket became readable or writable.

        `ended`: its peer has sent a FIN, a RST, or urgent data (a read stops short before that); or may have, where
        the kernel does not tell.
        """


class Readiness(Protocol):
    """The way that sockets are watched on this host."""

    descriptor: int | None
    """Readable as long as something may be ready; None where there is no such descriptor, only `wait`.

    Without it, ready sockets are reported only after the host's loop has gone round.
    """
    max_events: int
    """The most events that one `deliver` reports; if it reports fewer, none of those that were ready then is left."""

    @property
    def most_ready(self) -> int:
        """After this many events nothing is left of what was ready before the first: later events queue behind them."""

    def watch(self, watcher: Watcher) -> None: ...
    def unwatch(self, watcher: Watcher) -> None: ...
    def unwatch_and_close(self, watcher: Watcher) -> None:
        """End the watching and the socket, in whichever order costs least; harmless when repeated."""

    def rearm_read(self, watcher: Watcher) -> None: ...
    def rearm_write(self, watcher: Watcher) -> None: ...
    def watched(self) -> list[Watcher]: ...
    async def wait(self) -> None:
        """Until something may be ready."""

    def deliver(self, wait_s: float = 0) -> int:
        """Tell the watchers what is ready, and return the number of events.

        With a `descriptor` it may wait up to `wait_s` for an event. If a watcher raises, the others still get their
        events.
        """

    def close(self) -> None:
        """Stop watching, and close what was watched."""
