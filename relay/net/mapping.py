"""The server's side of a mapping of UDP: sockets that are not connected, with ports that the host picks.

All of a client's destinations are sent to by one socket, of their family (endpoint-independent mapping, RFC 4787
section 4.1), and a datagram from any source to that reaches the client (endpoint-independent filtering, section 5), as
in wire mode. A destination's name is looked up once in a mapping's time; datagrams for it wait meanwhile, and no others
do.
"""

from __future__ import annotations

import socket
from collections import deque
from collections.abc import Callable
from functools import partial

from relay.address import Endpoint
from relay.events import DialFailure, FailureKind, Side
from relay.legs import WOULD_BLOCK
from relay.loop.engine import Engine
from relay.loop.forks import held
from relay.net.association import reason_of
from relay.net.connect import Connector
from relay.net.datagram_leg import DatagramLeg, Dropped
from relay.net.dial import Address
from relay.net.lookup import Lookup
from relay.protocols.socks5_udp import IPV4_HEADER_BYTES, IPV6_HEADER_BYTES, header_from, read_header

_MAX_WAITING, _MAX_WAITING_BYTES = 64, 128 * 1024  # datagrams, for all names that are being looked up
_MAX_ERRORS = 64  # of earlier datagrams, in one go
_MAX_NAMES = 256  # that a mapping remembers
_HEADER_BYTES = {socket.AF_INET: IPV4_HEADER_BYTES, socket.AF_INET6: IPV6_HEADER_BYTES}


class Opening:
    """A mapping in the making. Unless it is abandoned, one of `connected` and `failed` is called, later."""

    def __init__(
        self,
        engine: Engine,
        leg: ServerLeg,
        destination: Endpoint,
        connected: Callable[[ServerLeg, Endpoint], None],
        failed: Callable[[DialFailure], None],
    ) -> None:
        self._leg = leg
        self._destination = destination
        self._connected = connected
        self._failed = failed
        self._abandoned = False
        engine.call_soon(self._open)

    def abandon(self) -> None:
        """Give up; neither callback is called."""
        self._abandoned = True

    def _open(self) -> None:
        if self._abandoned:
            return
        ip = self._destination.ip
        try:
            self._leg.open(socket.AF_INET6 if ip is not None and ip.version == 6 else socket.AF_INET)
        except OSError as error:
            self._failed(DialFailure(FailureKind.EXHAUSTED, f"no socket: {reason_of(error)}"))
        else:
            self._connected(self._leg, self._destination)


class ServerLeg(DatagramLeg):
    """The sockets of one mapping."""

    def __init__(
        self,
        engine: Engine,
        connector: Connector,
        refusal: Callable[[Endpoint], str],
        dropped: Dropped,
        *,
        client: str,
    ) -> None:
        """`refusal` says why nothing is sent to an address, or nothing; `client` is the host on whose behalf it is."""
        super().__init__(engine, Side.EXTERNAL)
        self._connector = connector
        self._refusal = refusal
        self._dropped = dropped
        self._client = client
        self._sockets: dict[socket.AddressFamily, _Socket] = {}
        self._found: dict[Endpoint, Address | str] = {}
        self._lookups: dict[Endpoint, Lookup] = {}
        self._waiting: dict[Endpoint, list[bytes]] = {}
        self._late: deque[tuple[Address | str, bytes]] = deque()

    @property
    def local(self) -> Endpoint | None:
        """Where the first of its sockets is bound."""
        return next((Endpoint(*each.sock.getsockname()[:2]) for each in self._sockets.values()), None)

    def open(self, family: socket.AddressFamily) -> socket.socket:
        """The socket of a family.

        Raises:
            OSError: the kernel opens none.
        """
        if family not in self._sockets:
            self._sockets[family] = _Socket(self, family, self._connector.source)
        return self._sockets[family].sock

    def receive_into(self, buffer: memoryview) -> int:
        for family, each in self._sockets.items():
            size_bytes = _HEADER_BYTES[family]
            if each.readable and (received := each.receive_into(buffer[size_bytes:])) is not None:
                count, source = received
                buffer[:size_bytes] = header_from(source)
                return size_bytes + count
        self.readable = False
        return WOULD_BLOCK

    def write(self, data: bytes | bytearray | memoryview) -> None:
        if self.closed:
            return
        destination, size_bytes = read_header(memoryview(data))
        target = self._found.get(destination)
        if target is None and destination not in self._lookups and (known := self._connector.known(destination)):
            target = self._take(destination, known)
        if target is not None:
            self._send(target, data[size_bytes:])
        else:
            self._keep(destination, bytes(data[size_bytes:]))

    def thaw(self) -> None:
        self.frozen = False
        self._send_late()
        super().thaw()

    def _let_go(self) -> None:
        for lookup in self._lookups.values():
            lookup.abandon()
        for each in self._sockets.values():
            self.loop.unwatch_and_close(each)
        self._lookups.clear()
        self._waiting.clear()
        self._late.clear()

    def _send(self, target: Address | str, payload: bytes | bytearray | memoryview) -> None:
        if isinstance(target, str):
            self._dropped(target)
            return
        family, address = target
        try:
            sock = self.open(family)
            try:
                sock.sendto(payload, address)
            except ConnectionError:  # an earlier datagram's; a socket reports it once
                sock.sendto(payload, address)
        except OSError as error:
            self._dropped(reason_of(error))

    def _keep(self, destination: Endpoint, payload: bytes) -> None:
        """Keep a datagram until its destination's address is known."""
        waiting_bytes = sum(len(each) for kept in self._waiting.values() for each in kept)
        if sum(map(len, self._waiting.values())) >= _MAX_WAITING or waiting_bytes + len(payload) > _MAX_WAITING_BYTES:
            self._dropped("too many wait for their name's address")
            return
        self._waiting.setdefault(destination, []).append(payload)
        if destination not in self._lookups:
            self._lookups[destination] = Lookup(
                self.loop, self._connector, destination, partial(self._on_found, destination), client=self._client
            )

    def _on_found(self, destination: Endpoint, found: list[Address] | DialFailure) -> None:
        del self._lookups[destination]
        waiting = self._waiting.pop(destination, ())
        target = found.kind.value if isinstance(found, DialFailure) else self._take(destination, found)
        self._late += [(target, payload) for payload in waiting]
        self._send_late()

    def _send_late(self) -> None:
        """Send what has waited for its name's address."""
        while self._late and not self.frozen:
            self._send(*self._late.popleft())

    def _take(self, destination: Endpoint, addresses: list[Address]) -> Address | str:
        """Remember the first of its addresses, or why nothing is sent there."""
        target = self._refusal(addresses[0][1]) or addresses[0]
        if len(self._found) >= _MAX_NAMES:
            del self._found[next(iter(self._found))]
        self._found[destination] = target
        return target


class _Socket:
    """One of a mapping's sockets."""

    def __init__(self, leg: ServerLeg, family: socket.AddressFamily, source: str | None) -> None:
        self._leg = leg
        self.readable = True
        with held:
            self.sock = socket.socket(family, socket.SOCK_DGRAM)
            leg.loop.unwatched.add(self.sock)
        try:
            self.sock.setblocking(False)
            if family == socket.AF_INET6:
                self.sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            self.sock.bind((source or "", 0))
            leg.loop.watch(self)
        except OSError:
            self.sock.close()
            raise
        finally:
            leg.loop.unwatched.discard(self.sock)

    def on_ready(self, readable: bool, writable: bool, ended: bool) -> None:
        if readable:
            self.readable = self._leg.readable = True
            self._leg.owner.on_leg_ready(self._leg)

    def receive_into(self, buffer: memoryview) -> tuple[int, Endpoint] | None:
        """Read one datagram; None if there is none."""
        for _ in range(_MAX_ERRORS):
            try:
                count, source = self.sock.recvfrom_into(buffer)
            except BlockingIOError:
                break
            except OSError:
                continue
            return count, Endpoint(*source[:2])
        self.readable = False
        self._leg.loop.rearm_read(self)
        return None
