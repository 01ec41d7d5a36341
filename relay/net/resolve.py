"""Asking the host's resolver, in threads of our own that nobody waits for.

`getaddrinfo` blocks, for half a minute where a name server is silent, and cannot be interrupted. Anyio's worker threads
are joined when the interpreter ends (on asyncio), so a relay that was told to stop would wait for that; a daemon thread
is left behind.
"""

from __future__ import annotations

import contextlib
import socket
import threading

import anyio
import anyio.from_thread
import anyio.lowlevel

from relay.address import Endpoint
from relay.net.dial import Address

_MAX_LOOKUPS = 64  # at once, a thread each


class Resolver:
    """The host's resolver."""

    def __init__(self) -> None:
        self._limiter = anyio.CapacityLimiter(_MAX_LOOKUPS)

    async def look_up(self, destination: Endpoint) -> list[Address]:
        """The addresses of a name; an empty list is the resolver's no.

        Cancelled while it waits for its turn it asks nobody; later, its thread keeps its place until it is through.
        """
        lookup = _Lookup(destination, self._limiter)
        await self._limiter.acquire_on_behalf_of(lookup)
        lookup.begin()
        await lookup.done.wait()
        return lookup.found


class _Lookup:
    """One question, in a thread."""

    def __init__(self, destination: Endpoint, limiter: anyio.CapacityLimiter) -> None:
        self._destination = destination
        self._limiter = limiter
        self._token = anyio.lowlevel.current_token()
        self.done = anyio.Event()
        self.found: list[Address] = []

    def begin(self) -> None:
        try:
            threading.Thread(target=self._ask, name=f"look up {self._destination.host}", daemon=True).start()
        except RuntimeError:  # the system has no thread left
            self._end()

    def _ask(self) -> None:
        host, port = self._destination
        with contextlib.suppress(OSError, UnicodeError):
            answers = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
            self.found = [(family, Endpoint(str(address[0]), port)) for family, _, _, _, address in answers]
        with contextlib.suppress(RuntimeError):  # the relay has stopped meanwhile
            anyio.from_thread.run_sync(self._end, token=self._token)

    def _end(self) -> None:
        self._limiter.release_on_behalf_of(self)
        self.done.set()
