"""Asks the host's resolver, in threads of our own that the relay never waits for.

`getaddrinfo` blocks, for half a minute where a name server is silent, and cannot be interrupted. At its end the
interpreter joins anyio's worker threads (on asyncio), so a relay that stops would wait for the resolver. A daemon
thread is left behind instead.

A name without an answer keeps its thread for as long. It does not hold up:

    a literal, however it is spelt      needs no thread
    a name in the hosts file            has a thread at once; there are no more of these than the file has names
    the same name, asked for again      is looked up once, for all that ask for it meanwhile
    another client's name               has a thread: a client has `MAX_OF_ONE_CLIENT` of them, all have `_MAX_OF_ALL`

Beyond its limit a client's names wait for their turn. A client is the address that its connections come from, so the
programs of one host share a limit.
"""

from __future__ import annotations

import contextlib
import socket
import threading
import weakref
from collections.abc import Callable

import anyio
import anyio.from_thread
import anyio.lowlevel

from relay.address import Endpoint
from relay.net.dial import Address
from relay.net.hosts_file import HostsFile

MAX_OF_ONE_CLIENT = 128
_MAX_NAME_BYTES = 255  # that a SOCKS5 reply has room for
_MAX_OF_ALL = 4 * MAX_OF_ONE_CLIENT  # a thread, 40 KB of memory and a descriptor each


class Resolver:
    """The host's resolver."""

    def __init__(self) -> None:
        self._hosts_file = HostsFile()
        self._of_all = anyio.CapacityLimiter(_MAX_OF_ALL)
        # Kept by the look-ups that have a turn, and by those that wait for one.
        self._of_client: weakref.WeakValueDictionary[str, anyio.CapacityLimiter] = weakref.WeakValueDictionary()
        self._under_way: dict[str, _Lookup] = {}

    async def look_up(self, destination: Endpoint, client: str) -> list[Address]:
        """The addresses of a name that a client asks for; an empty list means that the resolver has none.

        A call that is cancelled before its turn asks nothing; after that, its thread keeps its place until it is done.
        """
        name = destination.host.lower()
        return [address_of(host, destination.port) for host in await self._ask(name, client, addresses_of)]

    async def look_up_name(self, address: str, client: str) -> list[str]:
        """The names of an address; in all else like `look_up`."""
        return await self._ask(address, client, names_of)

    async def _ask(self, name: str, client: str, ask: Callable[[str], list[str]]) -> list[str]:
        lookup = self._under_way.get(name) or await self._begin(name, client, ask)
        await lookup.done.wait()
        return lookup.found

    async def _begin(self, name: str, client: str, ask: Callable[[str], list[str]]) -> _Lookup:
        lookup = _Lookup(name, ask, self._under_way)
        if name not in self._hosts_file:
            await lookup.take_turn(self._limit_of(client), self._of_all)
            if (other := self._under_way.get(name)) is not None:  # begun meanwhile
                lookup.give_turn_back()
                return other
        lookup.begin()
        return lookup

    def _limit_of(self, client: str) -> anyio.CapacityLimiter:
        limit = self._of_client.get(client)
        if limit is None:
            limit = self._of_client[client] = anyio.CapacityLimiter(MAX_OF_ONE_CLIENT)
        return limit


class _Lookup:
    """One question, in a thread."""

    def __init__(self, name: str, ask: Callable[[str], list[str]], under_way: dict[str, _Lookup]) -> None:
        self._name = name
        self._ask = ask
        self._under_way = under_way
        self._turn: list[anyio.CapacityLimiter] = []
        self._token = anyio.lowlevel.current_token()
        self.done = anyio.Event()
        self.found: list[str] = []

    async def take_turn(self, *limits: anyio.CapacityLimiter) -> None:
        """Wait until it may have a thread."""
        try:
            for limit in limits:
                await limit.acquire_on_behalf_of(self)
                self._turn.append(limit)
        except BaseException:
            self.give_turn_back()
            raise

    def give_turn_back(self) -> None:
        for limit in self._turn:
            limit.release_on_behalf_of(self)

    def begin(self) -> None:
        self._under_way[self._name] = self
        try:
            threading.Thread(target=self._run, name=f"look up {self._name}", daemon=True).start()
        except RuntimeError:  # the system has no thread left
            self._end()

    def _run(self) -> None:
        with contextlib.suppress(OSError, UnicodeError):
            self.found = self._ask(self._name)
        with contextlib.suppress(RuntimeError):  # the relay has stopped meanwhile
            anyio.from_thread.run_sync(self._end, token=self._token)

    def _end(self) -> None:
        del self._under_way[self._name]
        self.give_turn_back()
        self.done.set()


def address_of(literal: str, port: int) -> Address:
    """An address as it is dialled."""
    return socket.AF_INET6 if ":" in literal else socket.AF_INET, Endpoint(literal, port)


def addresses_of(host: str, flags: int = 0) -> list[str]:
    """What `getaddrinfo` answers, in the one spelling that is dialled: without a zone, which a dial ignores.

    Raises:
        OSError: there is none.
        UnicodeError: the host is no name that can be encoded.
    """
    return [str(address[0]) for *_, address in socket.getaddrinfo(host, None, type=socket.SOCK_STREAM, flags=flags)]


def names_of(address: str) -> list[str]:
    """What `getnameinfo` answers, if it can be said in SOCKS5.

    Raises:
        OSError: there is none.
        UnicodeError: the answer is no text.
    """
    name = socket.getnameinfo((address, 0), socket.NI_NAMEREQD)[0]
    return [name] if name.isascii() and len(name) <= _MAX_NAME_BYTES else []
