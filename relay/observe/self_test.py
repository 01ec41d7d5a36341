"""Providers prove themselves on real connections on loopback before they are used.

A kernel may refuse a filter, leave out a counter or number an option otherwise; what the documentation says of it is
no proof. Each test makes one connection, does something to it, and sees whether the provider saw it. Results hold for
the life of the process.
"""

from __future__ import annotations

import contextlib
import heapq
import itertools
import selectors
import socket
import struct
from collections.abc import Callable, Iterator

from relay.clock import real_s
from relay.errors import RelayError
from relay.observe._api import Host, Pollable, TosProvider
from relay.observe.kernel.syn import save_syn, syn_of
from relay.observe.kernel.tcp_info import tcp_info
from relay.observe.providers.ebpf import EbpfProvider
from relay.observe.providers.socket_filter import SocketFilterProvider, deafen

_DEADLINE_S = 0.5
_PRECEDENCE = 0xE0
_HARMLESS_TOS = 0x10  # low delay: another byte, the same precedence
_OFFENDING_TOS = 0x48  # AF21, precedence 2
_COUNTERS = struct.Struct("=128xQII8xII")  # bytes_received, segs_out, segs_in, data_segs_in, data_segs_out


_REFUSED = {
    EbpfProvider.name: "the filter was refused",
    SocketFilterProvider.name: "the filter was refused (CAP_NET_ADMIN is missing)",
}


class _Call:
    def __init__(self, callback: Callable[[], None]) -> None:
        self.callback: Callable[[], None] | None = callback

    def cancel(self) -> None:
        self.callback = None


class _Loop:
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
def _connection(
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


def _is_readable(sock: socket.socket) -> bool:
    try:
        return bool(sock.recv(1, socket.MSG_PEEK))
    except BlockingIOError:
        return False


def tos_self_test(provider_factory: Callable[[Host], TosProvider]) -> str | None:
    """Change a client's TOS byte under a provider's eyes; return what went wrong, or None.

    0x10 after a SYN with 0 must be delivered, 0x48 must be noticed, and not be readable if the provider withholds.
    """
    try:
        return _try_tos(provider_factory)
    except RelayError as fault:
        return str(fault)
    except OSError as fault:
        return f"{type(fault).__name__}: {fault}"


def _try_tos(provider_factory: Callable[[Host], TosProvider]) -> str | None:
    seen: list[int | None] = []
    with contextlib.ExitStack() as stack:
        loop = stack.enter_context(contextlib.closing(_Loop()))
        provider = stack.enter_context(contextlib.closing(provider_factory(loop)))

        def prepare(listener: socket.socket) -> None:
            save_syn(listener)
            provider.cover(listener, _PRECEDENCE)

        with _connection(prepare) as (client, early):
            client.setsockopt(socket.IPPROTO_IP, socket.IP_TOS, _OFFENDING_TOS)
            client.send(b"a")
            watch = provider.attach(early, syn_tos=0, mask=_PRECEDENCE, changed=seen.append, isn=syn_of(early).isn)
            if watch is not None and watch.asks:
                seen.append(watch.ask())
            if watch is not None and not (loop.run_until(lambda: bool(seen)) and seen == [_OFFENDING_TOS]):
                return f"TOS 0x{_OFFENDING_TOS:02x} right behind a SYN with 0 was not seen"
            seen.clear()
        with _connection(prepare) as (client, accepted):
            if syn_of(accepted).tos != 0:
                return "the SYN's TOS byte cannot be read (TCP_SAVED_SYN, IP_PKTOPTIONS)"
            watch = provider.attach(accepted, syn_tos=0, mask=_PRECEDENCE, changed=seen.append)
            if watch is None:
                return _REFUSED.get(provider.name, "the peer's socket was not found")
            client.setsockopt(socket.IPPROTO_IP, socket.IP_TOS, _HARMLESS_TOS)
            client.send(b"a")
            if not loop.run_until(lambda: _is_readable(accepted)) or seen:
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
            if provider.name in _REFUSED and _is_readable(accepted):
                return "what should be withheld was readable"
            watch.close()
            return None


def keepalive_self_test() -> str | None:
    """Check the segment counters of TCP_INFO against known traffic; return what went wrong, or None.

    That no more than the counters: a real probe takes a second of silence, too long for a start.
    """
    try:
        with _connection() as (client, accepted), contextlib.closing(_Loop()) as loop:
            before = _COUNTERS.unpack_from(tcp_info(accepted))
            client.sendall(b"12345")
            if not loop.run_until(lambda: _is_readable(accepted)):
                return "nothing arrived on loopback"
            accepted.recv(5)
            accepted.send(b"123")
            after = _COUNTERS.unpack_from(tcp_info(accepted))
    except (OSError, struct.error, AttributeError) as fault:
        return f"no segment counters in TCP_INFO ({fault})"
    received, out, came, data_in, data_out = (now - then for now, then in zip(after, before, strict=True))
    # Our ACK may ride on our data; the client's may have come back already.
    if received == 5 and data_in == 1 and data_out == 1 and 1 <= out <= 2 and 1 <= came <= 2:
        return None
    return "the segment counters in TCP_INFO do not count as expected"


def deafness_self_test() -> str | None:
    """Deafen one end of a connection and send to it; return what went wrong, or None."""
    try:
        with _connection() as (client, accepted):
            if not deafen(accepted):
                return "a socket filter was refused (CAP_NET_ADMIN is missing)"
            client.send(b"x")
            return "a deaf socket heard" if _is_readable(accepted) else None
    except OSError as fault:
        return f"{type(fault).__name__}: {fault}"
