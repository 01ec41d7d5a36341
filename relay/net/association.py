"""A SOCKS5 client's datagrams: one UDP socket near the client, for as long as its TCP connection lasts.

A datagram counts only if it comes from the client's address, and from the port that the client has named or else sent
its first datagram from (RFC 1928 section 7). Any other is dropped unseen, and the client is sent nothing before its
first datagram.

The client's side of a mapping is a leg. The socket outlives it: when the mapping has ended, the next datagram begins
another.
"""

from __future__ import annotations

import socket
from collections.abc import Callable

from relay.address import Endpoint
from relay.events import Side
from relay.legs import WOULD_BLOCK, Leg, Process
from relay.loop.engine import Engine
from relay.loop.forks import held
from relay.net.datagram_leg import DatagramLeg, Dropped
from relay.protocols.socks5_udp import Header, Unreadable, read_header

_BURST = 64  # datagrams in one go, before others have their turn


class Association:
    """The socket; `begin` is called with the client's leg of a new mapping, and where its first datagram is to go."""

    def __init__(
        self,
        engine: Engine,
        control: Leg,
        begin: Callable[[DatagramLeg, Endpoint], None],
        dropped: Dropped,
        *,
        port: int,
    ) -> None:
        """`control` is the TCP connection; `port` is the client's, or 0 if that is open.

        Raises:
            OSError: the kernel opens no such socket.
        """
        near, client = control.local, control.peer
        if near is None or client is None:
            raise OSError("the client is gone")
        self.engine = engine
        self.control = control
        self.dropped = dropped
        self._begin = begin
        self._client_host = client.host
        self.client: Endpoint | None = client._replace(port=port) if port else None
        """Where the client's datagrams come from; None before the first, unless it has said."""
        self._leg: _ClientLeg | None = None
        with held:
            family = socket.AF_INET6 if ":" in near.host else socket.AF_INET
            self.sock = socket.socket(family, socket.SOCK_DGRAM)
            engine.unwatched.add(self.sock)
        try:
            self.sock.setblocking(False)
            self.sock.bind((near.host, 0))
            engine.watch(self)
        except OSError:
            self.sock.close()
            raise
        finally:
            engine.unwatched.discard(self.sock)
        self.address = Endpoint(*self.sock.getsockname()[:2])
        """Where the client is to send its datagrams."""

    def close(self) -> None:
        """Take no more; harmless when repeated. The leg is its owner's to close."""
        self.engine.unwatch_and_close(self)

    def on_ready(self, readable: bool, writable: bool, ended: bool) -> None:
        if readable:
            self._go_on()

    def receive_into(self, buffer: memoryview) -> tuple[int, Header] | None:
        """Read one datagram of the client's; None if there is none now."""
        for _ in range(_BURST):
            try:
                count, (host, port, *_) = self.sock.recvfrom_into(buffer)
            except BlockingIOError:
                self.engine.rearm_read(self)
                return None
            except OSError:
                continue  # an earlier datagram's error; a socket reports it once
            source = Endpoint(host, port)
            if source != self.client and (self.client is not None or host != self._client_host):
                self.dropped("not from the client")
                continue
            try:
                header = read_header(buffer[:count])
            except Unreadable as reason:
                self.dropped(str(reason))
                continue
            self.client = source
            return count, header
        self.engine.call_soon(self._go_on)  # others have their turn
        return None

    def send(self, datagram: bytes | bytearray | memoryview) -> None:
        """Send one to the client."""
        if self.client is None:
            return
        try:
            self.sock.sendto(datagram, self.client)
        except OSError as error:
            self.dropped(reason_of(error))

    def release(self) -> None:
        """The mapping has ended."""
        self._leg = None
        self.engine.call_soon(self._go_on)  # what waits already brings no edge

    def _go_on(self) -> None:
        """Tell the leg that there may be datagrams, or make one for the first."""
        for _ in range(_BURST):
            if self.sock.fileno() < 0:
                return
            if (leg := self._leg) is not None:
                leg.readable = True
                leg.owner.on_leg_ready(leg)
                return
            buffer = self.engine.buffer
            if (first := self.receive_into(buffer)) is None:
                return
            count, header = first
            self._leg = _ClientLeg(self, bytes(buffer[:count]))
            self._begin(self._leg, header.destination)
        self.engine.call_soon(self._go_on)


class _ClientLeg(DatagramLeg):
    """The client's side of one mapping."""

    def __init__(self, association: Association, first: bytes) -> None:
        super().__init__(association.engine, Side.INTERNAL)
        self._association = association
        self._first = first

    @property
    def local(self) -> Endpoint:
        return self._association.address

    @property
    def peer(self) -> Endpoint | None:
        return self._association.client

    def receive_into(self, buffer: memoryview) -> int:
        if self._first:
            first, self._first = self._first, b""
            buffer[: len(first)] = first
            return len(first)
        received = None if self.closed else self._association.receive_into(buffer)
        if received is None:
            self.readable = False
            return WOULD_BLOCK
        return received[0]

    def write(self, data: bytes | bytearray | memoryview) -> None:
        if not self.closed:
            self._association.send(data)

    def glimpse_process(self) -> Process | None:
        return self._association.control.glimpse_process()

    def find_process(self) -> Process | None:
        return self._association.control.find_process()

    def _let_go(self) -> None:
        self._first = b""
        self._association.release()


def reason_of(error: OSError) -> str:
    """Why a datagram was not sent, in the words of the event log."""
    return (error.strerror or "not sent").lower()
