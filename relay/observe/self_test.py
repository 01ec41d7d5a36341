"""Providers prove themselves on real connections on loopback before they are used.

A kernel may refuse a filter, leave out a counter or number an option otherwise; what the documentation says of it is
no proof. Each test makes one connection, does something to it, and sees whether the provider saw it.
"""

from __future__ import annotations

import contextlib
import heapq
import itertools
import selectors
import socket
from collections.abc import Callable, Iterator

from relay.clock import real_s
from relay.errors import RelayError
from relay.observe._api import Failure, Provider, Target, Watcher
from relay.observe.kernel.host import Host, Pollable
from relay.observe.kernel.syn import save_syn, syn_of

_DEADLINE_S = 0.5
_PRECEDENCE = 0xE0
_HARMLESS_TOS = 0x10  # low delay: another byte, the same precedence
_OFFENDING_TOS = 0x48  # AF21, precedence 2


class _Call:
    def __init__(self, callback: Callable[[], None]) -> None:
        self.callback: Callable[[], None] | None = callback

    def cancel(self) -> None:
        self.callback = None


class Loop:
    """A host for the length of a test."""

    def __init__(self) -> None:
        self._due: list[tuple[float, int, _Call]] = []
        self._order = itertools.count()
        self._selector = selectors.DefaultSelector()

    def call_later(self, delay_s: float, callback: Callable[[], None]) -> _Call:
        call = _Call(callback)
        heapq.heappush(self._due, (real_s() + delay_s, next(self._order), call))
        return call

    def watch_readable(self, sock: Pollable, callback: Callable[[], None]) -> Callable[[], None]:
        self._selector.register(sock, selectors.EVENT_READ, callback)

        def unwatch() -> None:
            self._selector.unregister(sock)

        return unwatch

    def close(self) -> None:
        self._selector.close()

    def run_until(self, done: Callable[[], bool]) -> bool:
        deadline = real_s() + _DEADLINE_S
        while not done():
            now = real_s()
            if now >= deadline:
                return False
            until = min(self._due[0][0] if self._due else deadline, deadline)
            # The condition may come true by something that is not watched: look again after a millisecond.
            for key, _ in self._selector.select(max(0.0, min(until - now, 0.001))):
                key.data()
            while self._due and self._due[0][0] <= real_s():
                callback = heapq.heappop(self._due)[2].callback
                if callback is not None:
                    callback()
        return True


@contextlib.contextmanager
def connection(
    prepare: Callable[[socket.socket], object] = save_syn,
) -> Iterator[tuple[socket.socket, socket.socket]]:
    """Connect a client to a socket that accepted it, on loopback, from a listener that was prepared."""
    with socket.create_server(("127.0.0.1", 0)) as listener, socket.socket() as client:
        prepare(listener)
        client.settimeout(_DEADLINE_S)
        client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        client.connect(listener.getsockname())
        listener.settimeout(_DEADLINE_S)
        accepted, _ = listener.accept()
        with accepted:
            accepted.setblocking(False)
            yield client, accepted


def is_readable(sock: socket.socket) -> bool:
    try:
        return bool(sock.recv(1, socket.MSG_PEEK))
    except BlockingIOError:
        return False


def tos_self_test(provider_factory: Callable[[Host], Provider], *, withholds: bool) -> Failure | None:
    """Change a client's TOS byte under a provider's eyes; return what went wrong, or None.

    0x10 after a SYN with 0 must be delivered, 0x48 must be noticed, and not be readable if the provider withholds.
    """
    try:
        wrong = _try_tos(provider_factory, withholds)
    except (RelayError, OSError) as fault:
        return Failure.of(fault)
    return Failure(wrong) if wrong is not None else None


class _Seen(Watcher):
    """Keeps the bytes that were seen."""

    def __init__(self, seen: list[int | None]) -> None:
        self._seen = seen

    def on_tos(self, tos: int | None) -> None:
        self._seen.append(tos)


def _try_tos(provider_factory: Callable[[Host], Provider], withholds: bool) -> str | None:
    seen: list[int | None] = []
    with contextlib.ExitStack() as stack:
        loop = stack.enter_context(contextlib.closing(Loop()))
        provider = stack.enter_context(contextlib.closing(provider_factory(loop)))

        def prepare(listener: socket.socket) -> None:
            save_syn(listener)
            provider.cover(listener, _PRECEDENCE)

        def target(sock: socket.socket, isn: int | None = None) -> Target:
            return Target(sock, syn_tos=0, mask=_PRECEDENCE, watcher=_Seen(seen), isn=isn)

        with connection(prepare) as (client, early):
            client.setsockopt(socket.IPPROTO_IP, socket.IP_TOS, _OFFENDING_TOS)
            client.send(b"a")
            watch = provider.attach(target(early, syn_of(early).isn))
            if watch is not None and watch.asks:
                seen.append(watch.ask())
            if watch is not None and not (loop.run_until(lambda: bool(seen)) and seen == [_OFFENDING_TOS]):
                return f"TOS 0x{_OFFENDING_TOS:02x} right behind a SYN with 0 was not seen"
            seen.clear()
        with connection(prepare) as (client, accepted):
            if syn_of(accepted).tos != 0:
                return "the SYN's TOS byte cannot be read (TCP_SAVED_SYN, IP_PKTOPTIONS)"
            watch = provider.attach(target(accepted))
            if watch is None:
                return "a connection on loopback cannot be watched"
            client.setsockopt(socket.IPPROTO_IP, socket.IP_TOS, _HARMLESS_TOS)
            client.send(b"a")
            if not loop.run_until(lambda: is_readable(accepted)) or seen:
                return "a segment of the same precedence was taken for another"
            accepted.recv(1)
            if watch.asks:
                watch.ask()
            client.setsockopt(socket.IPPROTO_IP, socket.IP_TOS, _OFFENDING_TOS)
            client.send(b"b")
            if watch.asks and not seen:
                seen.append(watch.ask())
            if not loop.run_until(lambda: bool(seen)) or seen != [_OFFENDING_TOS]:
                return f"TOS 0x{_OFFENDING_TOS:02x} after a SYN with 0 was not seen"
            if withholds and is_readable(accepted):
                return "what should be withheld was readable"
            watch.close()
            return None
